"""Backpropagation that preconditions gives the steps of the plain path."""

import keras
import numpy as np
import pytest
from keras import layers

from tfwd.kfac import backward
from tfwd_tests import marks
from tfwd_tests.kfac import training

BATCH = 8
WIDTH = 32
# A bound that is never reached, but needs the gradient itself.
PLAIN = {"kl_clip": 1e30}


@pytest.fixture
def chosen(monkeypatch):
    """The names of the layers that were preconditioned on the way back."""
    names = []
    call = backward.call

    def spy(block, *arguments):
        names.append(block.layer.name)
        return call(block, *arguments)

    monkeypatch.setattr(backward, "call", spy)
    return names


def wide(inputs=(training.INPUTS,), **arguments):
    return training.mlp((WIDTH, WIDTH), inputs, **arguments)


def tied():
    inputs = keras.Input((training.INPUTS,))
    twice = layers.Dense(WIDTH, "tanh", name="twice")
    x = layers.Dense(WIDTH, "tanh")(inputs)
    outputs = layers.Dense(training.CLASSES)(twice(twice(x)))
    return training.reset(keras.Model(inputs, outputs))


def both(make, chosen, data=None, epochs=5, **arguments):
    """Returns the models of the preconditioning and of the plain path.

    Thirty steps: five epochs of six batches.
    """
    models = [training.compiled(make(), **extra) for extra in ({}, PLAIN)]
    data = data or training.examples(6 * BATCH)
    arguments |= {"batch_size": BATCH, "epochs": epochs}
    training.fit(models[0], data, **arguments)
    names = set(chosen)
    chosen.clear()
    training.fit(models[1], data, **arguments)
    assert not chosen
    return *models, names


@pytest.mark.many
def test_wide_layers_take_the_steps_of_the_plain_path(chosen):
    fast, plain, names = both(wide, chosen)
    assert names == {layer.name for layer in fast.layers[:2]}
    assert training.error(fast, plain) <= 1e-6


@pytest.mark.many
def test_dense_on_sequences_takes_the_steps_of_the_plain_path(chosen):
    fast, plain, names = both(
        lambda: wide((2, training.INPUTS)),
        chosen,
        training.sequences(6 * BATCH, 2),
    )
    assert fast.layers[1].name in names
    assert training.error(fast, plain) <= 1e-6


@pytest.mark.many
def test_layer_called_twice_takes_the_steps_of_the_plain_path(chosen):
    fast, plain, names = both(tied, chosen)
    assert "twice" in names
    assert training.error(fast, plain) <= 1e-6


@pytest.mark.many
def test_weights_of_examples_act_as_on_the_plain_path(chosen):
    weights = np.random.default_rng(3).uniform(0, 2, 6 * BATCH)
    fast, plain, names = both(wide, chosen, sample_weight=weights)
    assert len(names) == 2
    assert training.error(fast, plain) <= 1e-6


@pytest.mark.many
def test_half_precision_differs_by_its_rounding_alone(chosen):
    """The plain path rounds V to bfloat16, that is by 2⁻⁹; here U is not."""
    fast, plain, names = both(
        lambda: wide(dtype="mixed_bfloat16"), chosen, epochs=1
    )
    assert len(names) == 2
    initial = wide().get_weights()
    changes = [
        [
            new - old
            for new, old in zip(model.get_weights(), initial, strict=True)
        ]
        for model in (fast, plain)
    ]
    assert training.error(*changes) <= 5 * 2**-9


@pytest.mark.many
def test_layer_with_a_regularizer_falls_back(chosen):
    def make():
        model = wide()
        model.layers[1].kernel_regularizer = keras.regularizers.L2(0.1)
        model.layers[1].kernel.regularizer = model.layers[1].kernel_regularizer
        return model

    fast, plain, names = both(make, chosen)
    assert names == {fast.layers[0].name}
    assert training.error(fast, plain) <= 1e-6


@pytest.mark.parametrize(
    "arguments",
    [
        {"damping_mode": "eigen"},
        *marks.many(
            {"weight_decay_mode": "l2"},
            {"global_clipnorm": 1.0},
            {"clipnorm": 1.0},
            {"clipvalue": 1.0},
            {"gradient_accumulation_steps": 2},
        ),
    ],
    ids=lambda arguments: next(iter(arguments)),
)
def test_whatever_needs_the_gradient_has_it(arguments, chosen):
    model = training.compiled(wide(), **arguments)
    training.step(model, *training.examples(BATCH))
    assert not chosen


def test_a_layer_of_integers_has_no_gradient_at_its_input(chosen):
    inputs = keras.Input((training.INPUTS,), dtype="int32")
    hidden = layers.Dense(WIDTH, "tanh", name="of_integers")(inputs)
    hidden = layers.Dense(WIDTH, "tanh", name="behind")(hidden)
    outputs = layers.Dense(training.CLASSES)(hidden)
    model = training.compiled(
        training.reset(keras.Model(inputs, outputs)),
        settings={"jit_compile": False},
    )
    x, y = training.examples(BATCH)
    loss = training.step(model, np.sign(x).astype("int32"), y)
    assert np.isfinite(loss)
    assert set(chosen) == {"behind"}


def products(rows, n, m):
    """Multiplications of (A⁻¹aᵀ)(gG⁻¹) and of A⁻¹(aᵀg)G⁻¹."""

    def matmul(left, right):
        assert left[1] == right[0]
        return (left[0], right[1]), left[0] * left[1] * right[1]

    a, g = (rows, n), (rows, m)
    left, first = matmul((n, n), a[::-1])
    right, second = matmul(g, (m, m))
    factored = first + second + matmul(left, right)[1]
    v, first = matmul(a[::-1], g)
    left, second = matmul((n, n), v)
    return factored, first + second + matmul(left, (m, m))[1]


def test_cheaper_is_what_needs_fewer_multiplications():
    for rows, n, m in np.random.default_rng(0).integers(1, 60, (200, 3)):
        factored, plain = products(rows, n, m)
        assert backward.is_cheaper(rows, n, m) == (factored < plain)
    assert backward.is_cheaper(63, 64, 64)
    assert not backward.is_cheaper(64, 64, 64)
