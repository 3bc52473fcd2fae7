"""The README's rows for those who come from other optimizers."""

import keras
import numpy as np
import pytest

import tfwd
from tfwd_tests.optimizers import harness
from tfwd_tests.optimizers import other_libraries

# Keras adds ε to the root of the biased v. Too small to matter in either place,
# it leaves the step and the decay to be compared.
EPSILON = 1e-14


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (
            lambda: keras.optimizers.Adam(
                0.01, weight_decay=0.1, epsilon=EPSILON
            ),
            lambda: tfwd.AdamW(0.01, weight_decay=0.1, epsilon=EPSILON),
        ),
        (
            lambda: keras.optimizers.AdamW(0.01, epsilon=EPSILON),
            lambda: tfwd.AdamW(0.01, weight_decay=0.004, epsilon=EPSILON),
        ),
        (
            lambda: keras.optimizers.SGD(0.1, momentum=0.9, weight_decay=0.1),
            lambda: tfwd.SGDW(
                0.1, weight_decay=0.1, momentum=0.9, folded_learning_rate=True
            ),
        ),
        (
            lambda: keras.optimizers.Adam(
                0.01, amsgrad=True, weight_decay=0.1, epsilon=EPSILON
            ),
            lambda: tfwd.AMSGradW(0.01, weight_decay=0.1, epsilon=EPSILON),
        ),
        (
            lambda: keras.optimizers.SGD(0.1, nesterov=True),
            lambda: tfwd.SGD(0.1, momentum=0.0),
        ),
    ],
    ids=["Adam", "AdamW", "SGD", "amsgrad", "nesterov without momentum"],
)
def test_optimizer_of_keras_and_its_row_take_the_same_steps(theirs, ours):
    theta, gradients = harness.random_problem(20)
    keras_result, our_result = (
        harness.apply_all(make(), harness.make_variables(theta), gradients)
        for make in (theirs, ours)
    )
    assert harness.relative_error(our_result, keras_result) <= 2e-6


def test_nesterov_without_momentum_is_refused():
    with pytest.raises(ValueError, match="^`nesterov` needs momentum > 0"):
        tfwd.SGD(0.1, momentum=0.0, nesterov=True)


def test_epsilon_of_keras_is_larger_here_by_the_root_of_the_debiasing():
    """By 1/√(1 − β₂ᵗ): a number for one step, but not for all of them."""
    theta, gradients = harness.random_problem(200)

    def error(steps, factor):
        keras_result, our_result = (
            harness.apply_all(
                optimizer, harness.make_variables(theta), gradients[:steps]
            )
            for optimizer in (
                keras.optimizers.AdamW(0.01, weight_decay=0.1, epsilon=0.01),
                tfwd.AdamW(0.01, weight_decay=0.1, epsilon=0.01 * factor),
            )
        )
        return harness.relative_error(our_result, keras_result)

    first = 1 / np.sqrt(1 - 0.999)
    assert error(1, first) <= 2e-6
    assert error(1, 1) > 1e-3
    assert error(200, 1) > 1e-2
    assert error(200, first) > 1e-2


def kernel_after(optimizer, regularizer, layer, x, y, epochs=5):
    keras.utils.set_random_seed(1)
    layer = layer(kernel_regularizer=regularizer)
    model = keras.Sequential([keras.Input(x.shape[1:]), layer])
    model.compile(optimizer, "mse")
    model.fit(x, y, batch_size=32, epochs=epochs, shuffle=False, verbose=0)
    return [keras.ops.convert_to_numpy(v) for v in layer.trainable_variables]


def dense(**arguments):
    return keras.layers.Dense(2, **arguments)


def lstm(**arguments):
    return keras.layers.LSTM(2, **arguments)


def examples(*shape):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(64, *shape)).astype("float32")
    return x, generator.normal(size=(64, 2)).astype("float32")


def l2_of(cls, excluded="@standard", **arguments):
    return cls(
        0.01,
        weight_decay=0.1,
        weight_decay_mode="l2",
        exclude_from_weight_decay=excluded,
        **arguments,
    )


def test_regularizer_of_keras_is_half_of_l2_here():
    regularized = kernel_after(
        tfwd.AdamW(0.01), keras.regularizers.L2(0.05), dense, *examples(4)
    )
    with_l2 = kernel_after(l2_of(tfwd.Adam), None, dense, *examples(4))
    assert harness.relative_error(with_l2, regularized) <= 2e-6


def test_regularizer_of_keras_spares_the_recurrent_kernel():
    regularized = kernel_after(
        tfwd.AdamW(0.01), keras.regularizers.L2(0.05), lstm, *examples(3, 4)
    )
    both, one = (
        kernel_after(l2_of(tfwd.Adam, excluded), None, lstm, *examples(3, 4))
        for excluded in ("@standard", ["@standard", "recurrent_kernel"])
    )
    assert harness.relative_error(one, regularized) <= 2e-6
    assert harness.relative_error(both[1:2], regularized[1:2]) > 1e-2


def test_clipping_sees_the_penalty_of_a_regularizer_but_not_l2():
    x, y = examples(4)
    (kernel, _) = kernel_after(tfwd.SGD(0.0), None, dense, x, y, epochs=0)
    residual = x @ kernel - y
    gradient = x.T @ residual / 64
    bias_gradient = residual.sum(0) / 64

    def clipped(kernel_gradient):
        norm = np.sqrt((kernel_gradient**2).sum() + (bias_gradient**2).sum())
        return kernel_gradient * min(1, 0.1 / norm)

    def step(optimizer, regularizer):
        keras.utils.set_random_seed(1)
        model = keras.Sequential(
            [keras.Input((4,)), dense(kernel_regularizer=regularizer)]
        )
        model.compile(optimizer, "mse")
        model.fit(x, y, batch_size=64, epochs=1, shuffle=False, verbose=0)
        return model.get_weights()[0]

    plain = {"momentum": 0.0, "global_clipnorm": 0.1}
    np.testing.assert_allclose(
        step(tfwd.SGD(0.01, **plain), keras.regularizers.L2(0.05)),
        kernel - 0.01 * clipped(gradient + 0.1 * kernel),
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        step(l2_of(tfwd.SGD, **plain), None),
        kernel - 0.01 * (clipped(gradient) + 0.1 * kernel),
        rtol=1e-5,
    )


@pytest.mark.parametrize("name", other_libraries.GOLDEN)
def test_rule_of_another_library_gives_what_the_library_gave(name):
    np.testing.assert_allclose(
        other_libraries.written(name)[[0, 7]],
        other_libraries.GOLDEN[name],
        rtol=1e-12,
    )


def ours(optimizer, theta=None):
    """Returns the parameters of `other_libraries.problem` after its steps."""
    first, gradients = other_libraries.problem()
    theta = first if theta is None else theta
    steps = [[g] for g in gradients]
    (result,) = harness.apply_all(
        optimizer, harness.make_variables([theta]), steps
    )
    return result


def error_of(result, expected):
    return harness.relative_error([result], [expected])


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("torch.optim.SGD", lambda: tfwd.SGD(0.1, 0.1, momentum=0.9)),
        ("torch.optim.Adam", lambda: tfwd.Adam(0.01, 0.1)),
        ("torch.optim.AdamW", lambda: tfwd.AdamW(0.01, 0.1)),
        ("torch.optim.Adam, amsgrad", lambda: tfwd.AMSGrad(0.01, 0.1)),
        ("torch.optim.AdamW, amsgrad", lambda: tfwd.AMSGradW(0.01, 0.1)),
    ],
)
def test_optimizer_of_torch_and_its_row_take_the_same_steps(name, make):
    assert error_of(ours(make()), other_libraries.written(name)) <= 2e-6


def test_adamw_of_tensorflow_addons_is_independent_decay():
    result = ours(
        tfwd.Adam(0.01, 0.1, weight_decay_mode="independent", epsilon=EPSILON)
    )
    expected = other_libraries.tfa_adamw(
        *other_libraries.problem(), 0.1, 0.01, epsilon=EPSILON
    )
    assert error_of(result, expected) <= 2e-6


@pytest.mark.parametrize(
    "name", ["torch.optim.RAdam, decoupled", "optax.radam"]
)
def test_radam_elsewhere_is_this_one_but_for_its_first_five_steps(name):
    rule, arguments, more = other_libraries.CALLS[name]
    theta, gradients = other_libraries.problem()
    after_five = rule(theta, gradients[:5], **arguments, **more)
    decay = arguments.get("weight_decay", 0.0)
    # Nothing moves here in these, so that this starts where the other stands.
    result = ours(tfwd.RAdam(0.01, decay), theta=after_five)
    expected = rule(theta, gradients, **arguments, **more)
    assert error_of(result, expected) <= 2e-6
    assert error_of(after_five, theta) > 1e-2
    assert error_of(ours(tfwd.RAdam(0.01, decay)), expected) > 1e-2


def test_large_epsilon_of_optax_radam_is_another_one():
    theta, gradients = other_libraries.problem()
    after_five = other_libraries.optax_radam(theta, gradients[:5], 0.01, 0.1)
    expected = other_libraries.optax_radam(theta, gradients, 0.01, 0.1)
    result = ours(tfwd.RAdam(0.01, epsilon=0.1), theta=after_five)
    assert error_of(result, expected) > 1e-4


def test_amsgrad_of_optax_keeps_another_maximum():
    theta, gradients = other_libraries.problem()
    once = other_libraries.optax_amsgrad(theta, gradients[:1], 0.01)
    mine = harness.apply_all(
        tfwd.AMSGrad(0.01), harness.make_variables([theta]), [[gradients[0]]]
    )
    assert error_of(mine[0], once) <= 2e-6
    expected = other_libraries.written("optax.amsgrad")
    assert error_of(ours(tfwd.AMSGrad(0.01)), expected) > 1e-3


def test_embedding_moves_as_a_whole():
    """Rows of ids that no batch holds decay, those of earlier ones go on."""
    model = keras.Sequential(
        [
            keras.Input((1,)),
            keras.layers.Embedding(3, 2),
            keras.layers.Flatten(),
        ]
    )
    before = model.get_weights()[0]
    model.compile(tfwd.SGDW(0.5, weight_decay=0.1, momentum=0.9), "mse")
    ids = np.array([[0], [1]])
    model.fit(ids, np.ones((2, 2)), batch_size=1, shuffle=False, verbose=0)
    left = 1 - 0.5 * 0.1
    first = 0.5 * (before[0] - 1)
    expected = [
        left * (left * before[0] - first) - 0.9 * first,
        left**2 * before[1] - 0.5 * (left * before[1] - 1),
        left**2 * before[2],
    ]
    np.testing.assert_allclose(model.get_weights()[0], expected, rtol=1e-5)
