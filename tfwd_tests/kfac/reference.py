"""K-FAC of a multilayer perceptron in plain numpy, float64, from the papers.

Algorithm 1 of Zhang et al. 2019, read as its published code does where it is
misprinted: layer l has its own input factor, ΔW = A⁻¹ ∇W G⁻¹ for a kernel
[inputs, outputs], the gradient is that of −log p, and weight decay is either
in the gradient or outside it, times η. Nothing here is shared with the library.

`theta` is a list of kernels and biases in turn, [W₁, b₁, W₂, b₂, ...]; a layer
is the matrix with the bias as the last row.
"""

import numpy as np

# What a factor's mean eigenvalue counts for at least, so that π exists.
SMALLEST_TRACE = 1e-12

ACTIVATIONS = {
    "linear": (lambda s: s, lambda s: np.ones_like(s)),
    "tanh": (np.tanh, lambda s: 1 - np.tanh(s) ** 2),
    "relu": (lambda s: np.maximum(s, 0), lambda s: (s > 0).astype("float64")),
}


def train(
    theta,
    batches,
    *,
    activations,
    loss,
    learning_rates,
    weight_decays=None,
    mode="none",
    decay_factors=None,
    curvature="fisher",
    curvature_scale=1.0,
    samples=None,
    damping=1e-3,
    damping_mode="factored",
    momentum=0.9,
    factor_decay=0.95,
    factor_every=10,
    inverse_every=100,
    kl_clip=None,
    update_order="algorithm",
    cold_start=None,
):
    """Trains for one step per batch.

    Args:
        theta: Kernels and biases.
        batches: Pairs of inputs [B, n] and targets: labels [B] for "softmax",
            else [B, K].
        activations: A key of `ACTIVATIONS` per layer.
        loss: "softmax", "gaussian" (mean squared error) or "sigmoid".
        learning_rates: η of each step.
        weight_decays: λ of each step.
        mode: "none", "l2", "decoupled", "stable" or "independent".
        decay_factors: Multiplier of λ for each array of theta.
        curvature: "fisher", "gauss_newton" or "empirical".
        curvature_scale: Multiplies the Gauss–Newton matrix.
        samples: None for the exact curvature, or one entry per update of the
            factors, those of the cold start first, to be used in turn: what
            `sampled_vectors` takes, or a function of z that returns it.
        damping: A number, or a function of the number of batches seen.
        damping_mode: "factored" or "eigen".
        momentum: μ.
        factor_decay: ρ.
        factor_every: Steps between updates of the factors.
        inverse_every: Steps between updates of the inverses.
        kl_clip: κ, or None.
        update_order: "algorithm" or "authors".
        cold_start: None, or batches whose factors are averaged beforehand.

    Returns:
        A list with the parameters after each step, and a list with the
        debiased factors [(A, G), ...] of the layers after each step.
    """
    w = layers(theta)
    scales = layers(decay_arrays(theta, decay_factors))
    m = [np.zeros_like(x) for x in w]
    if weight_decays is None:
        weight_decays = [0.0] * len(batches)
    damping_at = damping if callable(damping) else lambda step: damping
    state = Curvature(
        lambda w, x, y, sample: new_factors(
            w, activations, loss, curvature, curvature_scale, x, y, sample
        ),
        samples,
        factor_decay,
        damping_mode,
    )

    def curvature_work(step, x, y):
        if step % factor_every == 0:
            state.update_factors(w, x, y)
        if step % inverse_every == 0:
            state.update_inverses(damping_at(step))

    if cold_start is not None:
        state.cold_start(w, cold_start)
        state.update_inverses(damping_at(0))
    parameters, factors = [], []
    for k, ((x, y), eta, lam) in enumerate(
        zip(batches, learning_rates, weight_decays, strict=True)
    ):
        # The published code never lacks inverses: it starts cold.
        if update_order == "algorithm" or state.inverses is None:
            curvature_work(k, x, y)
        v = gradients(w, activations, loss, x, y)
        if mode == "l2":
            v = [
                g + lam * scale * old
                for g, scale, old in zip(v, scales, w, strict=True)
            ]
        u = state.precondition(v, damping_at(k))
        nu = kl_coefficient(kl_clip, eta, v, u)
        m = [momentum * old + nu * new for old, new in zip(m, u, strict=True)]
        rate = {
            "none": 0.0,
            "l2": 0.0,
            "decoupled": eta * lam,
            "stable": eta * lam / (1 - momentum),
            "independent": lam,
        }[mode]
        w = [
            old - eta * step - rate * scale * old
            for old, step, scale in zip(w, m, scales, strict=True)
        ]
        if update_order == "authors":
            curvature_work(k + 1, x, y)
        parameters.append(arrays(w))
        factors.append(state.factors())
    return parameters, factors


class Curvature:
    """Zero-debiased averages of the factors, and their inverses."""

    def __init__(self, new_factors, samples, factor_decay, damping_mode):
        self.new_factors = new_factors
        self.samples = None if samples is None else iter(samples)
        self.rho = factor_decay
        self.invert = INVERSES[damping_mode]
        self.product = PRODUCTS[damping_mode]
        self.sums = None
        self.weight = 0.0
        self.inverses = None

    def _new(self, w, x, y):
        sample = None if self.samples is None else next(self.samples)
        return self.new_factors(w, x, y, sample)

    def cold_start(self, w, batches):
        several = [self._new(w, x, y) for x, y in batches]
        self.sums = [
            tuple(sum(kind) / len(several) for kind in zip(*layer, strict=True))
            for layer in zip(*several, strict=True)
        ]
        self.weight = 1.0

    def update_factors(self, w, x, y):
        new = self._new(w, x, y)
        if self.sums is None:
            self.sums = [(0 * a, 0 * g) for a, g in new]
        self.sums = [
            tuple(
                self.rho * old + (1 - self.rho) * now
                for old, now in zip(*pair, strict=True)
            )
            for pair in zip(self.sums, new, strict=True)
        ]
        self.weight = self.rho * self.weight + (1 - self.rho)

    def factors(self):
        return [(a / self.weight, g / self.weight) for a, g in self.sums]

    def update_inverses(self, damping):
        self.inverses = [self.invert(a, g, damping) for a, g in self.factors()]

    def precondition(self, v, damping):
        return [
            self.product(inverse, g, damping)
            for inverse, g in zip(self.inverses, v, strict=True)
        ]


def layers(theta):
    """Returns the matrices [W; b] of the layers, float64."""
    theta = [np.asarray(x, dtype="float64") for x in theta]
    return [
        np.vstack([w, b[None]])
        for w, b in zip(theta[::2], theta[1::2], strict=True)
    ]


def arrays(matrices):
    """Undoes `layers`."""
    return [x for w in matrices for x in (w[:-1].copy(), w[-1].copy())]


def decay_arrays(theta, factors):
    factors = [1.0] * len(theta) if factors is None else factors
    return [
        np.full(np.shape(x), f) for x, f in zip(theta, factors, strict=True)
    ]


def forward(matrices, activations, x):
    """Returns each layer's inputs [B, n + 1] and slopes φ′(s), and z."""
    inputs, slopes = [], []
    a = np.asarray(x, dtype="float64")
    for w, name in zip(matrices, activations, strict=True):
        inputs.append(np.hstack([a, np.ones((len(a), 1))]))
        s = inputs[-1] @ w
        function, derivative = ACTIVATIONS[name]
        slopes.append(derivative(s))
        a = function(s)
    return inputs, slopes, a


def backward(matrices, slopes, vectors):
    """Returns the gradients at the pre-activations; `vectors` is ∂/∂z."""
    found = []
    back = vectors
    for w, slope in zip(reversed(matrices), reversed(slopes), strict=True):
        g = back * slope
        found.append(g)
        back = g @ w[:-1].T
    return found[::-1]


def gradients(matrices, activations, loss, x, y):
    """Returns the gradient of the mean loss for each layer's matrix."""
    inputs, slopes, z = forward(matrices, activations, x)
    signals = backward(matrices, slopes, loss_gradient(loss, z, y) / len(z))
    return [a.T @ g for a, g in zip(inputs, signals, strict=True)]


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def one_hot(labels, z):
    return np.eye(z.shape[1])[np.asarray(labels, dtype="int64").ravel()]


def loss_gradient(loss, z, y):
    """Returns the gradient of each example's own loss, as Keras averages it."""
    if loss == "softmax":
        return softmax(z) - one_hot(y, z)
    if loss == "gaussian":
        return 2 * (z - y) / z.shape[1]
    return (sigmoid(z) - y) / z.shape[1]


def output_hessian(loss, curvature, z):
    """Returns H [B, K, K] at the outputs."""
    size = z.shape[1]
    eye = np.eye(size)
    if curvature == "gauss_newton":
        return np.tile(eye, (len(z), 1, 1))
    if loss == "softmax":
        p = softmax(z)
        return p[:, :, None] * eye - p[:, :, None] * p[:, None, :]
    if loss == "gaussian":
        return np.tile(2 / size * eye, (len(z), 1, 1))
    p = sigmoid(z)
    return (p * (1 - p) / size)[:, :, None] * eye


def exact_vectors(loss, curvature, z):
    """Returns K arrays [B, K], the columns of a root of H."""
    values, q = np.linalg.eigh(output_hessian(loss, curvature, z))
    roots = q * np.sqrt(np.maximum(values, 0))[:, None, :]
    return [roots[:, :, k] for k in range(z.shape[1])]


def sampled_vectors(loss, curvature, z, sample):
    """Returns what is sent back for given random numbers.

    Args:
        loss: "softmax", "gaussian" or "sigmoid".
        curvature: "fisher" or "gauss_newton".
        z: Outputs [B, K].
        sample: For Gauss–Newton the vectors [B, K] themselves; for the Fisher
            labels [B] ("softmax") or [B, K] ("sigmoid"), or, for "gaussian",
            normal numbers ε with y = z + √(K/2) ε.
    """
    sample = np.asarray(sample, dtype="float64")
    if curvature == "gauss_newton":
        return sample
    if loss == "softmax":
        return softmax(z) - one_hot(sample, z)
    if loss == "gaussian":
        return -np.sqrt(2 / z.shape[1]) * sample
    return (sigmoid(z) - sample) / np.sqrt(z.shape[1])


def new_factors(
    matrices, activations, loss, curvature, scale, x, y=None, sample=None
):
    """Returns (A, G) of each layer: means over the batch of āāᵀ and Σ ggᵀ.

    Exact if `sample` is None, unless the curvature is "empirical".
    """
    inputs, slopes, z = forward(matrices, activations, x)
    if curvature == "empirical":
        vectors = [loss_gradient(loss, z, y)]
    elif sample is None:
        vectors = exact_vectors(loss, curvature, z)
    else:
        sample = sample(z) if callable(sample) else sample
        vectors = [sampled_vectors(loss, curvature, z, sample)]
    scale = scale if curvature == "gauss_newton" else 1.0
    signals = [backward(matrices, slopes, vector) for vector in vectors]
    return [
        (a.T @ a / len(a), scale * sum(g.T @ g for g in gs) / len(a))
        for a, gs in zip(inputs, zip(*signals, strict=True), strict=True)
    ]


def factored_inverse(a, g, damping):
    """Returns (A + π√λ I)⁻¹ and (G + √λ/π I)⁻¹; exact beside a number."""
    mean_a, mean_g = (
        max(np.trace(factor) / len(factor), SMALLEST_TRACE) for factor in (a, g)
    )
    if len(g) == 1:
        inverse = np.linalg.inv(a + damping / mean_g * np.eye(len(a)))
        return inverse, np.array([[1 / mean_g]])
    pi, root = np.sqrt(mean_a / mean_g), np.sqrt(damping)
    return (
        np.linalg.inv(a + pi * root * np.eye(len(a))),
        np.linalg.inv(g + root / pi * np.eye(len(g))),
    )


def factored_product(inverse, v, damping):
    a_inverse, g_inverse = inverse
    return a_inverse @ v @ g_inverse


def eigen_inverse(a, g, damping):
    """Returns the eigenvalues and eigenvectors of A and of G."""
    return np.linalg.eigh(a), np.linalg.eigh(g)


def eigen_product(inverse, v, damping):
    (d_a, q_a), (d_g, q_g) = inverse
    return q_a @ (q_a.T @ v @ q_g / (np.outer(d_a, d_g) + damping)) @ q_g.T


INVERSES = {"factored": factored_inverse, "eigen": eigen_inverse}
PRODUCTS = {"factored": factored_product, "eigen": eigen_product}


def kl_coefficient(kl_clip, eta, v, u):
    """Returns ν = min(1, √(κ / (η² Σ⟨V, U⟩)))."""
    size = eta**2 * sum(np.sum(x * y) for x, y in zip(v, u, strict=True))
    if kl_clip is None or size <= 0:
        return 1.0
    return min(1.0, np.sqrt(kl_clip / size))
