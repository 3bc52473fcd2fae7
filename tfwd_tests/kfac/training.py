"""Small trainings with K-FAC: the same numbers on any backend and device."""

import keras
import numpy as np

import tfwd

INPUTS, CLASSES = 6, 3
BATCH = 16


def examples(rows=6 * BATCH, seed=0):
    """Returns inputs [rows, 6] and labels [rows] that they determine."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(rows, INPUTS)).astype("float32")
    teacher = np.random.default_rng(99).normal(size=(INPUTS, CLASSES))
    return x, np.argmax(x @ teacher, axis=-1).astype("int32")


def sequences(rows=6 * BATCH, length=4):
    """Returns inputs [rows, length, 6] and a label per position."""
    x, y = examples(rows * length)
    return x.reshape(rows, length, INPUTS), y.reshape(rows, length)


def reset(model, seed=0):
    """Gives a model weights from numpy, of variance 1/inputs; returns it."""
    generator = np.random.default_rng(seed)
    model.set_weights(
        [
            generator.normal(size=w.shape) / np.sqrt(np.prod(w.shape[:-1]))
            if w.ndim > 1
            else w
            for w in model.get_weights()
        ]
    )
    return model


def mlp(hidden=(8,), inputs=(INPUTS,), output=None, **arguments):
    """Returns a perceptron with tanh units, logits at its end by default."""
    return reset(
        keras.Sequential(
            [
                keras.Input(inputs),
                *(
                    keras.layers.Dense(size, "tanh", **arguments)
                    for size in hidden
                ),
                keras.layers.Dense(CLASSES, output, **arguments),
            ]
        )
    )


def convolutional():
    """Returns a convolution, strided, and a Dense; logits at its end."""
    return reset(
        keras.Sequential(
            [
                keras.Input((6, 6, 2)),
                keras.layers.Conv2D(4, 3, strides=2, activation="tanh"),
                keras.layers.Flatten(),
                keras.layers.Dense(CLASSES),
            ]
        )
    )


def images(rows=6 * BATCH):
    """Returns inputs [rows, 6, 6, 2] and labels [rows]."""
    x, y = examples(rows)
    noise = np.random.default_rng(5).normal(size=(rows, 6, 6, 2))
    signal = np.tile(x, 12).reshape(rows, 6, 6, 2)
    return (noise / 2 + signal).astype("float32"), y


def optimizer(learning_rate=0.02, weight_decay=0.01, **arguments):
    """Returns a KFAC whose every interval ends within a few steps.

    Damped so much that a rounding error stays one for thirty steps: with a
    damping of 0.01 it grows by 5 orders, as the loss of such small batches
    goes up and down.
    """
    defaults = {"damping": 0.1, "factor_every": 3, "inverse_every": 5}
    return tfwd.KFAC(learning_rate, weight_decay, **(defaults | arguments))


def cross_entropy():
    """Returns the loss of integer labels and logits."""
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def compiled(model=None, loss=None, settings=None, **arguments):
    """Returns a model, a perceptron by default, attached and compiled.

    Args:
        model: The model.
        loss: Its loss; cross entropy of logits by default.
        settings: Further arguments of `compile`.
        **arguments: Those of `optimizer`.
    """
    model = model or mlp()
    new = optimizer(**arguments)
    new.attach(model)
    model.compile(new, loss or cross_entropy(), **(settings or {}))
    return model


def fit(model, data=None, **arguments):
    """Fits in the order of the data; returns the loss of each epoch."""
    x, y = data or examples()
    defaults = {"batch_size": BATCH, "shuffle": False, "verbose": 0}
    return model.fit(x, y, **(defaults | arguments)).history["loss"]


def step(model, x, y):
    """Takes one batch of `fit`, and returns the loss as a float."""
    return float(model.train_on_batch(x, y))


def by_hand(model, batches):
    """Takes a step per batch in a loop of one's own, on one device."""
    attached = model.optimizer
    for x, y in batches:
        batch = int(keras.ops.convert_to_numpy(attached.schedule_step()))
        _do(attached, attached.schedule.before(batch), x)
        attached.apply(gradients(model, x, y), model.trainable_variables)
        _do(attached, attached.schedule.after(batch), x)


def gradients(model, x, y):
    """Returns the gradients of the cross entropy of a batch."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            loss = cross_entropy()(y, model(x, training=True))
        return tape.gradient(loss, [v.value for v in model.trainable_variables])
    import jax

    def loss_of(trainable, non_trainable):
        logits, _ = model.stateless_call(
            trainable, non_trainable, x, training=True
        )
        return cross_entropy()(y, logits)

    return jax.grad(loss_of)(
        [v.value for v in model.trainable_variables],
        [v.value for v in model.non_trainable_variables],
    )


def error(actual, expected):
    """Returns ‖Δ‖/‖θ‖ over the weights of two models, or lists of arrays."""
    actual, expected = (
        np.concatenate([np.ravel(w) for w in _arrays(one)])
        for one in (actual, expected)
    )
    difference = np.linalg.norm(actual - expected)
    return difference / np.linalg.norm(expected)


def factor_error(actual, expected):
    """Returns the largest relative error of a factor of two optimizers."""
    actual, expected = actual.factors(), expected.factors()
    return max(
        error([one], [other])
        for pair in zip(actual.values(), expected.values(), strict=True)
        for one, other in zip(*pair, strict=True)
    )


def optimizer_values(model):
    """Returns the arrays of all variables of a model's optimizer."""
    return [keras.ops.convert_to_numpy(v) for v in model.optimizer.variables]


def _do(attached, work, x):
    if work.factors:
        attached.update_factors(x)
    if work.inverses:
        attached.update_inverses(work.inverses)


def _arrays(one):
    return one.get_weights() if isinstance(one, keras.Model) else one
