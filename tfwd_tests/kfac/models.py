"""Small models, their factors by the library, and the truth about them.

`dense_blocks` is the mean over predictions of Jᵀ H J, restricted to one block:
J by the backend's derivatives, H from `reference`. Its rows and columns are in
the order of the block's matrix [(groups,) n, m], so that it compares with
T·kron(A, G), T the positions.
"""

import keras
import numpy as np

import tfwd
from tfwd_tests.kfac import dense_curvature
from tfwd_tests.kfac import reference

BACKEND = keras.backend.backend()
LOSSES = {
    "softmax": lambda from_logits: keras.losses.SparseCategoricalCrossentropy(
        from_logits=from_logits, dtype="float64"
    ),
    "sigmoid": lambda from_logits: keras.losses.BinaryCrossentropy(
        from_logits=from_logits, dtype="float64"
    ),
    "gaussian": lambda from_logits: keras.losses.MeanSquaredError(
        dtype="float64"
    ),
}


float64 = dense_curvature.float64


def loss_of(likelihood, from_logits=True):
    return LOSSES[likelihood](from_logits)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def targets_of(likelihood, shape, seed=0):
    """Returns targets for outputs of a shape [..., outputs]."""
    generator = np.random.default_rng(seed)
    if likelihood == "softmax":
        return generator.integers(shape[-1], size=shape[:-1])
    if likelihood == "sigmoid":
        return 1.0 * generator.integers(2, size=shape)
    return generator.normal(size=shape)


def built(layers, shape, seed=0):
    """Returns a Sequential with ordinary random numbers as variables."""
    model = keras.Sequential([keras.Input(shape), *layers])
    return filled(model, seed)


def filled(model, seed=0):
    generator = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        variable.assign(generator.normal(size=variable.shape) / 2)
    return model


def attached(model, likelihood, *, from_logits=True, **options):
    """Returns an attached optimizer, exact unless the options say otherwise."""
    optimizer = tfwd.KFAC(**{"estimation": "exact", **options})
    optimizer.attach(model, loss_of(likelihood, from_logits))
    return optimizer


def factors(model, likelihood, x, y=None, *, sample_weight=None, **options):
    """Returns {layer name: factors} of one batch."""
    optimizer = attached(model, likelihood, **options)
    optimizer.update_factors(x, y, sample_weight)
    optimizer.detach()
    return optimizer.factors()


def kronecker(pair, positions=1):
    """Returns T·kron(A, G) of each group, or F of each channel."""
    if len(pair) == 1:
        return list(pair[0])
    a, g = pair
    if a.ndim == 1:
        a = np.diag(a)
    if a.ndim == 2:
        a, g = a[None], g[None]
    return [
        positions * np.kron(one, other) for one, other in zip(a, g, strict=True)
    ]


def jacobians(model, x, training=False):
    """Returns {id of a trainable variable: [predictions, K, *its shape]}."""
    variables = model.trainable_variables
    if BACKEND == "tensorflow":
        import tensorflow as tf

        # Without pfor, which is compiled anew for every model.
        with tf.GradientTape(persistent=True) as tape:
            outputs = tf.convert_to_tensor(model(x, training=training))
            scalars = tf.unstack(tf.reshape(outputs, (-1,)))
        values = [v.value for v in variables]
        rows = [
            tape.gradient(s, values, unconnected_gradients="zero")
            for s in scalars
        ]
        parts = [
            np.stack([np.asarray(tf.convert_to_tensor(g)) for g in column])
            for column in zip(*rows, strict=True)
        ]
    else:
        import jax

        rest = [v.value for v in model.non_trainable_variables]

        @jax.jit
        def every(values):
            def call(values):
                return model.stateless_call(values, rest, x, training=training)[
                    0
                ]

            return jax.jacrev(call)(values), call(values)

        parts, outputs = every([v.value for v in variables])
    size = outputs.shape[-1]
    return {
        id(v): np.asarray(part).reshape((-1, size, *v.shape))
        for v, part in zip(variables, parts, strict=True)
    }


def hessians(model, likelihood, curvature, x, y=None, training=False):
    """Returns H [predictions, K, K] at the model's logits."""
    z = np.asarray(keras.ops.convert_to_numpy(model(x, training=training)))
    z = z.reshape((-1, z.shape[-1]))
    if curvature == "empirical":
        y = np.asarray(y).reshape(
            (len(z),) if likelihood == "softmax" else z.shape
        )
        first = reference.loss_gradient(likelihood, z, y)
        return first[:, :, None] * first[:, None, :]
    return reference.output_hessian(likelihood, curvature, z)


def dense_blocks(block, jacobian, hessian):
    """Returns the matrix of each group of a block.

    Args:
        block: A block, for its variables and the order of its matrix.
        jacobian: What `jacobians` returned.
        hessian: [predictions, K, K].
    """
    parts, numbers, start = [], [], 0
    for variable in block.variables:
        part = jacobian[id(variable)]
        parts.append(part.reshape((*part.shape[:2], -1)))
        count = parts[-1].shape[-1]
        numbers.append(np.arange(start, start + count).reshape(variable.shape))
        start += count
    order = block.to_matrix([n.astype("float64") for n in numbers])
    order = np.rint(keras.ops.convert_to_numpy(order)).astype("int64")
    groups = order.reshape((order.shape[0] if order.ndim == 3 else 1, -1))
    j = np.concatenate(parts, axis=-1)
    found = []
    for group in groups:
        rows = j[:, :, group]
        weighted = hessian @ rows
        found.append(np.einsum("bki,bkj->ij", rows, weighted) / len(rows))
    return found


def all_dense_blocks(optimizer, likelihood, x, y=None, training=False):
    """Returns {layer name: matrix of each group} of an attached model."""
    model = optimizer.attachment.model
    jacobian = jacobians(model, x, training)
    hessian = hessians(model, likelihood, optimizer.curvature, x, y, training)
    return {
        block.layer.name: dense_blocks(block, jacobian, hessian)
        for block in optimizer.attachment.blocks
    }


def error(actual, truth):
    """Returns ‖Δ‖/‖truth‖ of a list of arrays, all together."""
    difference = sum(
        np.sum((np.asarray(a) - b) ** 2)
        for a, b in zip(actual, truth, strict=True)
    )
    return float(np.sqrt(difference / sum(np.sum(np.square(b)) for b in truth)))


def gradients(model, loss, x, y, training=True, sample_weight=None):
    """Returns the gradients of the loss that Keras would differentiate."""
    variables = model.trainable_variables
    y = keras.ops.convert_to_tensor(y)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            outputs = model(x, training=training)
            value = loss(y, outputs, sample_weight)
        return tape.gradient(value, [v.value for v in variables])
    import jax

    rest = [v.value for v in model.non_trainable_variables]

    @jax.jit
    @jax.grad
    def every(values):
        outputs, _ = model.stateless_call(values, rest, x, training=training)
        return loss(y, outputs, sample_weight)

    return every([v.value for v in variables])


def step(model, optimizer, likelihood, x, y):
    """Takes one step with factors and inverses of the same batch."""
    optimizer.update_factors(x)
    optimizer.update_inverses()
    found = gradients(model, loss_of(likelihood), x, y)
    optimizer.apply(found, model.trainable_variables)
