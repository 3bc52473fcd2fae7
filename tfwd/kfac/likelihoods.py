"""What a model predicts: the distribution whose −log likelihood is its loss.

A curvature is a sum over vectors v that are backpropagated from the model's
output, the logits or means z [examples, predictions, outputs]: of one random
vector per example with covariance H, or of all columns of a root of H, where H
is

| curvature      | softmax        | sigmoid        | mean squared error |
|----------------|----------------|----------------|--------------------|
| `fisher`       | diag(p) − ppᵀ  | diag(p(1−p))/K | (2/K)·I            |
| `gauss_newton` | I              | I              | I                  |

with K outputs. Keras averages the losses of the last two over the outputs, and
all losses over examples and predictions; H is that of the loss of one
prediction, so the damping is in units of the loss.
"""

import dataclasses

import keras
from keras import ops

from tfwd import arguments
from tfwd.kfac import sampling

_DISTRIBUTIONS = {
    keras.losses.CategoricalCrossentropy: "softmax",
    keras.losses.SparseCategoricalCrossentropy: "softmax",
    keras.losses.BinaryCrossentropy: "sigmoid",
    keras.losses.MeanSquaredError: "gaussian",
}
# A name or a function has no arguments: its model gives probabilities.
_CLASSES = {
    keras.losses.categorical_crossentropy: (
        keras.losses.CategoricalCrossentropy
    ),
    keras.losses.sparse_categorical_crossentropy: (
        keras.losses.SparseCategoricalCrossentropy
    ),
    keras.losses.binary_crossentropy: keras.losses.BinaryCrossentropy,
    keras.losses.mean_squared_error: keras.losses.MeanSquaredError,
}


@dataclasses.dataclass(frozen=True)
class Likelihood:
    """The distribution of the labels, given a model's output.

    Attributes:
        distribution: "softmax", "sigmoid" or "gaussian".
        from_logits: Whether the output is z, or else the probabilities.
        loss: The loss itself, for the empirical Fisher.
    """

    distribution: str
    from_logits: bool
    loss: keras.losses.Loss

    def probabilities(self, outputs):
        """Returns p of an output [..., outputs]."""
        if not self.from_logits:
            return outputs
        if self.distribution == "softmax":
            return ops.softmax(outputs, axis=-1)
        return ops.sigmoid(outputs)

    def losses(self, outputs, labels):
        """Returns the loss of each prediction, [examples, predictions].

        Args:
            outputs: [examples, predictions, outputs], as the loss takes them.
            labels: As the loss takes them, with predictions on any axes.
        """
        labels = ops.convert_to_tensor(labels)
        shape = ops.shape(outputs)
        if isinstance(self.loss, keras.losses.SparseCategoricalCrossentropy):
            labels = ops.reshape(labels, shape[:-1])
        else:
            labels = ops.cast(ops.reshape(labels, shape), outputs.dtype)
        return self.loss.call(labels, outputs)

    def sampled_fisher(self, outputs, examples, step, seed):
        """Returns ∂(−log p(y|z))/∂(output) for one sampled y per prediction.

        Args:
            outputs: [examples, predictions, outputs].
            examples: Global indices of the examples, an int tensor.
            step: The step, an int scalar.
            seed: A Python int.

        Returns:
            A tensor of the shape of `outputs`.
        """
        predictions, size = ops.shape(outputs)[1:]
        draw = (examples, step, seed)
        if self.distribution == "gaussian":
            numbers = sampling.normal(*draw, predictions * size)
            numbers = ops.reshape(numbers, (-1, predictions, size))
            return -((2 / size) ** 0.5) * ops.cast(numbers, outputs.dtype)
        p = self.probabilities(outputs)
        if self.distribution == "softmax":
            u = ops.cast(sampling.uniform(*draw, predictions), p.dtype)
            below = ops.cumsum(p, axis=-1)
            # The last of the sums is 1 up to rounding.
            below = below < ops.expand_dims(u, -1) * below[..., -1:]
            label = ops.sum(ops.cast(below, "int32"), axis=-1)
            y = ops.one_hot(label, size, dtype=p.dtype)
            return p - y if self.from_logits else -y * _reciprocal(p)
        u = sampling.uniform(*draw, predictions * size)
        u = ops.cast(ops.reshape(u, (-1, predictions, size)), p.dtype)
        y = ops.cast(u < p, p.dtype)
        if self.from_logits:
            return (p - y) / size**0.5
        return ((1 - y) * _reciprocal(1 - p) - y * _reciprocal(p)) / size**0.5

    def exact_fisher(self, outputs):
        """Returns a list of vectors whose squares sum to H, per prediction."""
        size = outputs.shape[-1]
        ones = ops.ones_like(outputs)
        if self.distribution == "gaussian":
            roots = (2 / size) ** 0.5 * ones
            return [roots * _unit(k, size, roots) for k in range(size)]
        p = self.probabilities(outputs)
        if self.distribution == "sigmoid":
            root = ops.sqrt(p * (1 - p) / size)
            if not self.from_logits:
                root = _reciprocal(ops.sqrt(p * (1 - p))) / size**0.5
            return [root * _unit(k, size, root) for k in range(size)]
        root = ops.sqrt(p)
        vectors = []
        for k in range(size):
            unit = _unit(k, size, p)
            if self.from_logits:
                vectors.append(root[..., k : k + 1] * (unit - p))
            else:
                # The softmax's own derivative turns e/√p into √p (e − p).
                vectors.append(_reciprocal(root) * unit)
        return vectors

    def sampled_gauss_newton(self, logits, examples, step, seed):
        """Returns random signs, whose covariance is the identity."""
        predictions, size = ops.shape(logits)[1:]
        numbers = sampling.signs(examples, step, seed, predictions * size)
        numbers = ops.reshape(numbers, (-1, predictions, size))
        return ops.cast(numbers, logits.dtype)

    def exact_gauss_newton(self, logits):
        """Returns the unit vectors."""
        size = logits.shape[-1]
        ones = ops.ones_like(logits)
        return [ones * _unit(k, size, ones) for k in range(size)]


def of_loss(loss):
    """Returns the `Likelihood` whose −log a Keras loss is.

    Args:
        loss: A Keras loss: a name, function or instance, or a list or dict
            that holds one.

    Raises:
        ValueError: If the loss is none of the cross-entropies and the mean
            squared error, so that the distribution, or whether the model
            gives logits, is not known.
    """
    received = f"Received: loss={arguments.shown(loss, repr)}"
    leaves = keras.tree.flatten(loss)
    if len(leaves) != 1:
        raise ValueError(f"`loss` must be a single one. {received}")
    known = leaves[0]
    if isinstance(known, str):
        known = _by_name(known)
    if callable(known) and known in _CLASSES:
        known = _CLASSES[known]()
    distribution = _DISTRIBUTIONS.get(type(known))
    if distribution is None:
        raise ValueError(
            "`loss` must be a categorical, sparse categorical or binary "
            "cross-entropy or the mean squared error, compiled or given to "
            f"`attach(model, loss=...)`. {received}"
        )
    config = known.get_config()
    if config.get("axis", -1) != -1 or config.get("ignore_class") is not None:
        raise ValueError(
            "`loss` must have axis=-1 and no ignore_class for KFAC. "
            f"Received: {config}"
        )
    from_logits = distribution == "gaussian" or config["from_logits"]
    return Likelihood(distribution, from_logits, known)


def _by_name(name):
    """Returns the loss that Keras knows by a name, None if there is none."""
    try:
        return keras.losses.get(name)
    except ValueError:
        return None


def _unit(k, size, like):
    return ops.one_hot(k, size, dtype=like.dtype)


def _reciprocal(x):
    """Returns 1/x, and 0 where x is 0."""
    positive = x > 0
    one = ops.ones_like(x)
    return ops.where(positive, one / ops.where(positive, x, one), 0 * one)
