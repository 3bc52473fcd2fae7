"""Weight norms and the scope of the decay, changed on two replicas."""

import contextlib

import keras
import numpy as np
import tensorflow as tf

import tfwd
from tfwd.callbacks import decay_scope_switch
from tfwd.callbacks import weight_norm_transfer
from tfwd.diagnostics.scale_invariance import rescaling
from tfwd_tests.diagnostics import rescaled
from tfwd_tests.optimizers import replicas


def examples(rows=64):
    # Sorted, so that the replicas' halves of a batch differ.
    x = np.sort(rescaled.images(rows, 6), axis=0).astype("float32")
    return x, np.argmax(x[:, :3], axis=-1)


def fit(model, epochs=1, *callbacks):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(tfwd.SGDW(0.1, 0.5), loss, jit_compile=False)
    model.fit(
        *examples(),
        batch_size=16,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=list(callbacks),
    )


def copies(variable):
    strategy = replicas.strategy()
    return [
        copy.numpy()
        for copy in strategy.experimental_local_results(variable.value)
    ]


def predictions(model, x):
    """Returns those of each replica, with its own moving statistics."""
    x = tf.constant(x)
    strategy = replicas.strategy()
    found = strategy.run(lambda: model(x, training=False))
    return [y.numpy() for y in strategy.experimental_local_results(found)]


def test_every_replica_predicts_what_it_predicted():
    x, _ = examples()
    with replicas.strategy().scope():
        model = rescaled.dense()
        fit(model)
    norm, kernel = model.get_layer("norm"), model.get_layer("hidden").kernel
    first, second = copies(norm.moving_mean)
    assert np.abs(first - second).max() > 0.1
    before = predictions(model, x)
    norms = {"hidden": 3 * rescaled.norm(model, "hidden")}
    rescaling.rescale(model, norms)
    for copy in copies(kernel):
        np.testing.assert_allclose(np.linalg.norm(copy), norms["hidden"], 1e-6)
    # Of float32.
    for after, old in zip(predictions(model, x), before, strict=True):
        np.testing.assert_allclose(after, old, atol=1e-5 * np.abs(old).max())


def test_fit_on_two_replicas_gives_the_weights_of_one():
    """With both callbacks; normalized over both replicas, to be the same."""
    results = []
    initial = None
    for scope in (contextlib.nullcontext(), replicas.strategy().scope()):
        with scope:
            model = keras.Sequential(
                [
                    keras.Input((6,)),
                    keras.layers.Dense(8, name="hidden"),
                    keras.layers.BatchNormalization(synchronized=True),
                    keras.layers.ReLU(),
                    keras.layers.Dense(3, name="logits"),
                ]
            )
            initial = initial or model.get_weights()
            model.set_weights(initial)
            fit(
                model,
                3,
                weight_norm_transfer.WeightNormTransfer(
                    {e: {"hidden": 1.0 + e} for e in (1, 2, 3)},
                    moments="scale",
                ),
                decay_scope_switch.DecayScopeSwitch("final", first_epoch=2),
            )
        results.append(model.get_weights())
        momentums = model.optimizer.momentums
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    for m in momentums:
        np.testing.assert_array_equal(*copies(m))
