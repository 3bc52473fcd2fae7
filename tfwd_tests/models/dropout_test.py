"""Dropout of an example depends on its key alone, and else is Keras' own."""

import math
import threading

import keras
import numpy as np
import pytest
from keras import ops

from tfwd import models
from tfwd.models import dropout
from tfwd_tests.models import examining

KEYS = np.array([0, 1, 0x9E3779B9, 2**31, 2**32 - 1, 12345], "uint32")


def ones(batch, *shape):
    return np.ones((batch, *shape), "float32")


def dropped(layer, x, keys):
    with dropout.keyed(keys):
        return ops.convert_to_numpy(layer(x, training=True))


def mixed(x):
    """`lowbias32` of C. Wellons' hash prospector, on Python's integers."""
    x ^= x >> 16
    x = x * 0x7FEB352D % 2**32
    x ^= x >> 15
    x = x * 0x846CA68B % 2**32
    return x ^ (x >> 16)


def kept(key, stream, position, rate):
    golden_ratio = 0x9E3779B9
    row = mixed(key ^ mixed(golden_ratio * (stream + 1) % 2**32))
    word = mixed(row ^ mixed((position + golden_ratio) % 2**32))
    return (word >> 9) >= round(rate * 2**23)


@pytest.mark.parametrize(("stream", "rate"), [(0, 0.5), (3, 0.1), (70, 0.9)])
def test_every_element_of_the_mask_is_that_of_plain_python(stream, rate):
    found = dropped(dropout.KeyedDropout(rate, stream), ones(6, 2, 3, 2), KEYS)
    expected = [
        [kept(int(key), stream, i, rate) for i in range(12)] for key in KEYS
    ]
    np.testing.assert_array_equal(found.reshape(6, 12) != 0, expected)


@pytest.mark.parametrize("shape", [(40,), (5, 8), (2, 4, 5)])
@pytest.mark.parametrize("parts", [(3, 3), (1, 5), (2, 2, 2)])
def test_every_division_of_a_batch_drops_the_same(shape, parts):
    layer = dropout.KeyedDropout(0.3, stream=1)
    x = examining.images(6, shape)
    edges = np.cumsum(parts)[:-1]
    pieces = [
        dropped(layer, part, keys)
        for part, keys in zip(
            np.split(x, edges), np.split(KEYS, edges), strict=True
        )
    ]
    np.testing.assert_array_equal(
        np.concatenate(pieces), dropped(layer, x, KEYS)
    )


def test_what_is_kept_is_divided_by_its_probability():
    x = examining.images(6, (100,))
    found = dropped(dropout.KeyedDropout(0.2, 0), x, KEYS)
    keeps = found != 0
    # One rounding of the factor and one of the product.
    np.testing.assert_allclose(found[keeps], x[keeps] / 0.8, rtol=2.4e-7)


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5, 0.9])
def test_elements_are_dropped_independently_at_the_rate(rate):
    """Bounds are four standard deviations of independent elements."""
    keys = np.arange(500, dtype="uint32")
    x = ones(500, 400)
    zeros = dropped(dropout.KeyedDropout(rate, 0), x, keys) == 0
    spread = math.sqrt(rate * (1 - rate) / zeros.size)
    assert abs(zeros.mean() - rate) < 4 * spread
    centered = zeros - rate
    other = dropped(dropout.KeyedDropout(rate, 1), x, keys) == 0
    for one, two in (
        (centered[:-1], centered[1:]),
        (centered[:, :-1], centered[:, 1:]),
        (centered, other - rate),
    ):
        correlation = np.mean(one * two) / (rate * (1 - rate))
        assert abs(correlation) < 4 / math.sqrt(one.size)


def test_the_mean_of_the_output_is_the_input():
    keys = np.arange(20_000, dtype="uint32")
    x = np.broadcast_to(np.float32([1, -2, 3]), (20_000, 3))
    mean = dropped(dropout.KeyedDropout(0.4, 0), x, keys).mean(0)
    # Four standard deviations of the mean of x b / 0.6, b Bernoulli(0.6).
    bound = 4 * math.sqrt(0.4 / 0.6 / 20_000)
    assert np.all(np.abs(mean / [1, -2, 3] - 1) < bound)


def test_there_is_no_dropout_without_training_or_rate():
    x = examining.images(6, (9,))
    with dropout.keyed(KEYS):
        for layer, training in (
            (dropout.KeyedDropout(0.5, 0), False),
            (dropout.KeyedDropout(0.0, 0), True),
        ):
            found = ops.convert_to_numpy(layer(x, training=training))
            np.testing.assert_array_equal(found, x)


def test_without_keys_it_is_the_dropout_of_keras():
    x = examining.images(6, (50,))
    layer = dropout.KeyedDropout(0.5, 0, seed=3)
    plain = keras.layers.Dropout(0.5, seed=3)
    masks = []
    for _ in range(2):
        found = ops.convert_to_numpy(layer(x, training=True))
        expected = ops.convert_to_numpy(plain(x, training=True))
        np.testing.assert_array_equal(found, expected)
        masks.append(found != 0)
    assert np.any(masks[0] != masks[1])


def test_an_inner_context_hides_the_outer_one_and_gives_it_back():
    layer, x = dropout.KeyedDropout(0.5, 0), ones(6, 30)
    alone = dropped(layer, x, KEYS)
    with dropout.keyed(KEYS):
        inner = dropped(layer, x, KEYS[::-1])
        with pytest.raises(KeyError), dropout.keyed(KEYS + 1):
            raise KeyError
        behind = ops.convert_to_numpy(layer(x, training=True))
    np.testing.assert_array_equal(inner, alone[::-1])
    np.testing.assert_array_equal(behind, alone)
    # Outside, two calls differ again.
    first, second = (
        ops.convert_to_numpy(layer(x, training=True)) for _ in range(2)
    )
    assert np.any(first != second)


def test_keys_hold_for_their_thread_alone():
    layer, x = dropout.KeyedDropout(0.5, 0), ones(6, 30)
    found = {}

    def work(name, keys, barrier):
        with dropout.keyed(keys):
            barrier.wait(10)
            found[name] = ops.convert_to_numpy(layer(x, training=True))
            barrier.wait(10)

    barrier = threading.Barrier(2)
    threads = [
        threading.Thread(target=work, args=(name, keys, barrier))
        for name, keys in enumerate((KEYS, KEYS[::-1]))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(found[0], dropped(layer, x, KEYS))
    np.testing.assert_array_equal(found[1], found[0][::-1])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_drops_the_same_elements(dtype):
    x = ones(6, 40)
    whole = dropped(dropout.KeyedDropout(0.25, 0), x, KEYS)
    with dropout.keyed(KEYS):
        half = dropout.KeyedDropout(0.25, 0, dtype=dtype)(x, training=True)
    assert keras.backend.standardize_dtype(half.dtype) == dtype
    half = ops.convert_to_numpy(ops.cast(half, "float32"))
    # 4 / 3 rounded to the 8 bits of bfloat16.
    np.testing.assert_allclose(half, whole, rtol=2**-8)


def test_a_model_drops_the_same_after_it_was_saved(tmp_path):
    model = models.build("lstm", (None,), 10, hidden_units=8)
    words = np.arange(24, dtype="int32").reshape(6, 4) % 10
    states = [np.zeros((6, 8), "float32") for _ in range(4)]
    path = tmp_path / "model.keras"
    model.save(path)
    loaded = keras.saving.load_model(path)
    assert len(examining.layers_of(loaded, dropout.KeyedDropout)) == 3

    def logits(model, keys):
        with dropout.keyed(keys):
            outputs = model([words, *states], training=True)
        return ops.convert_to_numpy(outputs[0])

    np.testing.assert_array_equal(logits(loaded, KEYS), logits(model, KEYS))
    assert np.any(logits(model, KEYS) != logits(model, KEYS + 1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rate": 1.0}, "`rate` must be in [0, 1). Received: rate=1.0"),
        ({"rate": -0.1}, "`rate` must be in [0, 1). Received: rate=-0.1"),
        (
            {"noise_shape": (1, 2)},
            "`noise_shape` must be None: every element is drawn by itself. "
            "Received: noise_shape=(1, 2)",
        ),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError) as error:
        dropout.KeyedDropout(**{"rate": 0.5, "stream": 0} | arguments)
    assert str(error.value) == message


def test_another_number_of_keys_than_examples_is_refused():
    layer = dropout.KeyedDropout(0.5, 0)
    with pytest.raises(ValueError, match="must be one per example, here 4"):
        dropped(layer, ones(4, 3), KEYS)


def test_layers_of_one_model_have_different_masks():
    model = models.build("lstm", (None,), 10, hidden_layers=3, hidden_units=8)
    layers = examining.layers_of(model, dropout.KeyedDropout)
    masks = {dropped(layer, ones(6, 50), KEYS).tobytes() for layer in layers}
    assert len(masks) == len(layers) == 4
