"""Sums over batches of any sizes, and means and errors made of them."""

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

from tfwd.diagnostics import estimates
from tfwd.diagnostics import streaming
from tfwd_tests.kfac import models


@pytest.fixture(autouse=True)
def in_float64():
    with models.float64():
        yield


def network():
    return models.built([layers.Dense(3)], (4,))


def program(model):
    """Returns a program that sums what tells batches and examples apart."""

    def statistics(inputs, labels, weights, first_example):
        outputs = ops.sum(model(inputs), axis=-1)
        numbers = streaming.examples(inputs, first_example)
        sums = {
            "outputs": estimates.sums(outputs, weights),
            "numbers": ops.sum(
                weights * ops.cast(numbers, "float64") * outputs
            ),
        }
        if labels is not None:
            sums["labels"] = ops.sum(weights * ops.cast(labels, "float64"))
        return sums

    return streaming.Sums(statistics, model)


def truth(model, x, weights):
    outputs = keras.ops.convert_to_numpy(model(x)).sum(axis=-1)
    return {
        "outputs": [
            weights @ outputs,
            weights @ outputs**2,
            weights.sum(),
        ],
        "numbers": weights @ (np.arange(len(x)) * outputs),
    }


def assert_equal(found, expected):
    for name, value in expected.items():
        assert found[name].dtype == "float64"
        np.testing.assert_allclose(found[name], value, rtol=1e-12)


def test_uneven_batches_give_what_one_batch_gives():
    model, x = network(), models.normal(7, 4)
    expected = truth(model, x, np.ones(7))
    run = program(model)
    for batches in ([x], [x[:3], x[3:6], x[6:]], [(x[:5],), (x[5:],)]):
        assert_equal(run.over(batches), expected)
    assert_equal(run.over(streaming.batches_of(x, batch_size=3)), expected)


def test_labels_and_weights_go_with_their_examples():
    model, x = network(), models.normal(7, 4)
    y, weights = np.arange(7), np.array([1, 1, 0, 1, 1, 0, 0])
    # What fills up a batch may be anything.
    x[2] = np.nan
    expected = truth(model, np.nan_to_num(x), weights)
    del expected["numbers"]
    found = program(model).over(streaming.batches_of((x, y, weights), 3))
    assert_equal(found, {**expected, "labels": weights @ y})


def test_a_program_sees_weights_that_have_changed():
    model, x = network(), models.normal(7, 4)
    run = program(model)
    run.over([x])
    model.layers[0].kernel.assign(models.normal(4, 3, seed=5))
    assert_equal(run.over([x]), truth(model, x, np.ones(7)))


def test_arrays_are_cut_and_batches_are_left():
    x = models.normal(5, 2)
    cut = list(streaming.batches_of((x, {"a": x}, None), 2))
    assert [len(batch[0]) for batch in cut] == [2, 2, 1]
    np.testing.assert_array_equal(cut[2][1]["a"], x[4:])
    batches = [x[:2], x[2:]]
    assert streaming.batches_of(batches) is batches
    with pytest.raises(ValueError, match="must hold arrays of one length"):
        streaming.batches_of((x, x[:4]))


def test_no_batch_is_refused():
    with pytest.raises(ValueError, match="must hold a batch"):
        program(network()).over([])


def test_mean_and_error_of_sums():
    values = np.array([1.0, 4.0, 2.0, 9.0])
    mean = estimates.of_sums(values.sum(), np.sum(values**2), 4.0)
    np.testing.assert_allclose(mean.value, 4.0)
    np.testing.assert_allclose(mean.standard_error, np.std(values, ddof=1) / 2)
    assert mean.count == 4
    assert np.isnan(estimates.of_sums(1.0, 1.0, 1.0).standard_error)
    assert estimates.of_sums(0.3, 0.03, 3.0).standard_error < 1e-8
    with pytest.raises(ValueError, match="at least one example"):
        estimates.of_sums(0.0, 0.0, 0.0)
