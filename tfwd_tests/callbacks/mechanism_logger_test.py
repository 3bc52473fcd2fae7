"""The callback measures what `fit` does, and leaves it alone.

Covers `tensorflow_summaries`.
"""

import keras
import numpy as np
import pytest
from keras import layers

from tfwd.callbacks import mechanism_logger
from tfwd.diagnostics import table
from tfwd_tests.kfac import training

X, Y = training.examples(40)


def compiled(*extra, seed=0):
    """Returns a perceptron whose hidden weights are normalized."""
    model = keras.Sequential(
        [
            keras.Input((training.INPUTS,)),
            layers.Dense(4, name="first"),
            layers.BatchNormalization(),
            *extra,
            layers.Dense(training.CLASSES, name="last"),
        ]
    )
    training.reset(model, seed)
    model.compile(keras.optimizers.SGD(0.1), training.cross_entropy())
    return model


def fit(model, *callbacks, epochs=2, **arguments):
    return model.fit(
        X,
        Y,
        batch_size=16,
        epochs=epochs,
        verbose=0,
        callbacks=list(callbacks),
        **({"shuffle": False} | arguments),
    )


def made(path, data=(X, Y), **options):
    defaults = {"diagnostics": ["effective_learning_rate"], "picture": False}
    return mechanism_logger.MechanismLogger(path, data, **(defaults | options))


def column(rows, name, layer):
    return [row[name] for row in rows if row["layer"] == layer]


def norm(kernel):
    return np.linalg.norm(np.asarray(kernel, "float64"))


def test_training_with_the_logger_is_the_same_bit_for_bit(tmp_path):
    results = []
    for with_logger in (False, True):
        keras.utils.set_random_seed(5)
        model = compiled(layers.Dropout(0.5, seed=3))
        names = ["jacobian", "fisher", "effective_learning_rate"]
        callbacks = [made(tmp_path, diagnostics=names)] if with_logger else []
        history = fit(model, *callbacks, shuffle=True).history["loss"]
        results.append((history, model.get_weights()))
    (plain, weights), (logged, others) = results
    assert plain == logged
    for one, other in zip(weights, others, strict=True):
        np.testing.assert_array_equal(one, other)


def test_weights_are_those_before_the_first_step_and_after_an_epoch(tmp_path):
    model = compiled()
    first = norm(model.layers[0].kernel)
    norms = []
    own = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: norms.append(
            norm(own.model.layers[0].kernel)
        )
    )
    watched = made(tmp_path, every=2)
    fit(model, own, watched, epochs=5)
    rows = table.read(tmp_path / "diagnostics.csv")
    assert rows == watched.rows
    assert column(rows, "epoch", "first") == [0, 2, 4]
    # Three batches make an epoch.
    assert column(rows, "step", "first") == [0, 6, 12]
    expected = [first, norms[1], norms[3]]
    np.testing.assert_allclose(
        column(rows, "weight_norm", "first"), expected, rtol=1e-12
    )
    rates = 0.1 / np.square(expected)
    np.testing.assert_allclose(
        column(rows, "effective_learning_rate", "first"), rates, rtol=1e-6
    )
    assert column(rows, "scale_invariant", "first") == [True] * 3
    assert column(rows, "scale_invariant", "last") == [False] * 3


def without_seconds(rows):
    return [row | {"seconds": None} for row in rows]


def test_file_of_a_resumed_fit_is_that_of_one_without_a_break(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    model = compiled()
    states = [model.get_weights()]
    keep = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda *_: states.append(keep.model.get_weights())
    )
    fit(model, made(whole), keep, epochs=4)

    def restart(epoch, epochs):
        model.set_weights(states[epoch])
        model.optimizer.iterations.assign(3 * epoch)
        fit(model, made(broken), initial_epoch=epoch, epochs=epochs)

    # It goes on to the third epoch, of which nothing is left but the file.
    restart(0, 3)
    restart(2, 4)
    files = [table.read(path / "diagnostics.csv") for path in (whole, broken)]
    assert without_seconds(files[0]) == without_seconds(files[1])


def test_fit_from_the_start_begins_a_new_file(tmp_path):
    for _ in range(2):
        fit(compiled(), made(tmp_path), epochs=1)
    rows = table.read(tmp_path / "diagnostics.csv")
    assert column(rows, "epoch", "first") == [0, 1]


def test_first_examples_count_in_whatever_form_they_come(tmp_path):
    """Against ‖∂z/∂x‖² of z = relu(x U) W."""
    model = keras.Sequential(
        [
            keras.Input((training.INPUTS,)),
            layers.Dense(4, "relu", use_bias=False),
            layers.Dense(training.CLASSES, use_bias=False),
        ]
    )
    training.reset(model)
    model.compile(keras.optimizers.SGD(0.0), training.cross_entropy())
    u, w = model.get_weights()
    active = X[:20] @ u > 0
    truth = np.mean([np.sum((u @ (row[:, None] * w)) ** 2) for row in active])
    batches = [(X[i : i + 7], Y[i : i + 7]) for i in range(0, 40, 7)]
    for data in (X, batches):
        watched = made(
            tmp_path,
            data,
            diagnostics=["jacobian"],
            examples=20,
            projections=None,
        )
        fit(model, watched, epochs=1)
        found = column(watched.rows, "jacobian", table.MODEL)
        # Of float32.
        np.testing.assert_allclose(found, [truth] * 2, rtol=1e-5)


def test_cost_is_told_at_the_end(tmp_path, capsys):
    watched = made(tmp_path)
    fit(compiled(), watched)
    seconds = sum(column(watched.rows, "seconds", table.MODEL))
    assert seconds <= watched.seconds
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"Diagnostics took {watched.seconds:.1f} s of ")


def test_picture_is_drawn_at_the_end_unless_it_is_not_wanted(tmp_path):
    for picture in (False, True):
        fit(compiled(), made(tmp_path, picture=picture), epochs=1)
        assert (tmp_path / "mechanisms.png").exists() == picture


@pytest.mark.parametrize(
    "options",
    [
        {"every": 0},
        {"examples": 0},
        {"projections": 0},
        {"diagnostics": ["jacobean"]},
        {"diagnostics": "jacobian"},
    ],
)
def test_broken_rule_is_told_with_the_value(tmp_path, options):
    (name,) = options
    with pytest.raises(ValueError, match=f"`{name}` must .* Received: {name}="):
        made(tmp_path, **options)
