"""The language model computes, counts and starts as its docstring says."""

import math

import keras
import numpy as np
import pytest

from tfwd import models
from tfwd.models import lstm
from tfwd_tests.models import examining

VOCABULARY = 11


def built(**arguments):
    arguments = {"hidden_units": 6, "dropout": 0.0} | arguments
    return models.build("lstm", (None,), VOCABULARY, **arguments)


def tokens(time, batch=3):
    random = np.random.default_rng(time)
    return random.integers(0, VOCABULARY, (batch, time)).astype("int32")


def called(model, words, states, training=False):
    tensors = [keras.ops.convert_to_tensor(x) for x in (words, *states)]
    outputs = model(tensors, training=training)
    return [keras.ops.convert_to_numpy(x) for x in outputs]


def random_states(model, batch=3):
    random = np.random.default_rng(5)
    return [
        random.uniform(-1, 1, (batch, state.shape[-1])).astype("float32")
        for state in model.inputs[1:]
    ]


def test_trainable_parameters_are_the_published_ones():
    """14.45 million, with 4,096 biases more in PyTorch."""
    model = models.build("lstm", (None,), 10_000)
    assert examining.trainable_parameters(model) == 14_448_400
    assert round(14_448_400 / 1e6, 2) == round(14_452_496 / 1e6, 2) == 14.45


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("width", [1.0, 1.5])
def test_trainable_parameters_follow_the_formula(layers, width):
    model = built(hidden_layers=layers, width=width)
    u, v = round(6 * width), VOCABULARY
    expected = v * u + layers * (8 * u * u + 4 * u) + (u + 1) * v
    assert examining.trainable_parameters(model) == expected


def test_inputs_and_outputs_are_words_logits_and_states():
    model = built()
    states = ["lstm1_h", "lstm1_c", "lstm2_h", "lstm2_c"]
    assert [x.name for x in model.inputs] == ["tokens", *states]
    outputs = called(model, tokens(5), random_states(model))
    assert outputs[0].shape == (3, 5, VOCABULARY)
    assert [x.shape for x in outputs[1:]] == 4 * [(3, 6)]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def unrolled(x, h, c, kernel, recurrent, bias):
    """Hochreiter & Schmidhuber 1997, with Keras' order of the four gates."""
    outputs = []
    for time in range(x.shape[1]):
        z = x[:, time] @ kernel + h @ recurrent + bias
        i, f, new, o = np.split(z, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(new)
        h = sigmoid(o) * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs, 1), h, c


def test_the_forward_pass_equals_numpy():
    model = built()
    values = {
        v.path: keras.ops.convert_to_numpy(v).astype("float64")
        for v in model.trainable_variables
    }
    words, states = tokens(7), random_states(model)
    x, expected = values["embedding/embeddings"][words], []
    for number in (1, 2):
        weights = [
            values[f"lstm{number}/lstm_cell/{part}"]
            for part in ("kernel", "recurrent_kernel", "bias")
        ]
        x, *last = unrolled(x, *states[2 * number - 2 : 2 * number], *weights)
        expected += last
    logits = x @ values["logits/kernel"] + values["logits/bias"]
    assert np.abs(logits).max() > 0.1
    found = called(model, words, states)
    # float32: seven steps of sums of at most 12 products below 1.
    for one, other in zip(found, [logits, *expected], strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=2e-6)


@pytest.mark.parametrize("lengths", [(6, 6), (1, 11), (5, 4, 3)])
def test_chained_segments_equal_one_long_segment(lengths):
    model, words = built(), tokens(12)
    whole = called(model, words, random_states(model))
    states, logits = random_states(model), []
    for end, length in zip(np.cumsum(lengths), lengths, strict=True):
        part, *states = called(model, words[:, end - length : end], states)
        logits.append(part)
    chained = [np.concatenate(logits, 1), *states]
    # The same float32 operations, in another grouping.
    for one, other in zip(chained, whole, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_initial_states_are_zeros_of_the_type_of_the_last(policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = built(hidden_layers=1)
    finally:
        keras.config.set_dtype_policy("float32")
    states = lstm.initial_states(model, 3)
    outputs = model([keras.ops.convert_to_tensor(tokens(2)), *states])
    for first, last in zip(states, outputs[1:], strict=True):
        assert first.dtype == last.dtype
        assert first.shape == last.shape == (3, 6)
        assert float(keras.ops.max(keras.ops.abs(first))) == 0


def test_dropout_is_behind_the_embedding_and_behind_each_lstm():
    model = examining.small("lstm")
    names = [layer.name for layer in model.layers]
    order = ["embedding", "dropout0", "lstm1", "dropout1", "lstm2", "dropout2"]
    assert [name for name in names if name in order] == order
    layers = [model.get_layer(f"dropout{number}") for number in range(3)]
    assert [layer.rate for layer in layers] == [0.5, 0.5, 0.5]
    assert [layer.stream for layer in layers] == [0, 1, 2]
    for layer, source in zip(layers, order[::2], strict=True):
        outputs = model.get_layer(source).output
        assert layer.input is (outputs if source == "embedding" else outputs[0])


def test_weights_start_uniform_in_the_root_of_the_units():
    """As PyTorch's, and the embedding standard normal."""
    model = models.build("lstm", (None,), 500, hidden_units=64)
    limit = 1 / math.sqrt(64)
    variables = {v.path: v for v in model.trainable_variables}
    embedding = variables.pop("embedding/embeddings")
    for variable in variables.values():
        values = keras.ops.convert_to_numpy(variable)
        assert np.abs(values).max() <= limit * (1 + 1e-6)
        # Five standard deviations of the mean of squares, as of their mean.
        bound = 5 * 0.9 / math.sqrt(values.size)
        assert abs(np.mean(values**2) / (limit**2 / 3) - 1) < bound
    values = keras.ops.convert_to_numpy(embedding)
    bound = 5 / math.sqrt(values.size)
    assert abs(values.mean()) < bound
    assert abs(np.mean(values**2) - 1) < math.sqrt(2) * bound


def test_in_the_other_convention_weights_start_as_in_keras():
    layer = built(convention="zhang2019").get_layer("lstm1")
    bias = keras.ops.convert_to_numpy(layer.cell.bias)
    # One for the gate that forgets, so that the cell is kept at first.
    np.testing.assert_array_equal(bias, np.repeat([0, 1, 0, 0], 6))
    recurrent = keras.ops.convert_to_numpy(layer.cell.recurrent_kernel)
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(6), atol=1e-5)
