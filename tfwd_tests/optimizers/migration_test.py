"""The README's rows for those who come from Keras' own optimizers."""

import keras
import pytest

import tfwd
from tfwd_tests.optimizers import harness

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
    ],
    ids=["Adam", "AdamW", "SGD"],
)
def test_optimizer_of_keras_and_its_row_take_the_same_steps(theirs, ours):
    theta, gradients = harness.random_problem(20)
    keras_result, our_result = (
        harness.apply_all(make(), harness.make_variables(theta), gradients)
        for make in (theirs, ours)
    )
    assert harness.relative_error(our_result, keras_result) <= 2e-6


def test_regularizer_of_keras_is_half_of_l2_here():
    def trained(optimizer, regularizer=None):
        keras.utils.set_random_seed(1)
        x = keras.random.normal((64, 4), seed=1)
        y = keras.random.normal((64, 2), seed=2)
        model = keras.Sequential(
            [
                keras.Input((4,)),
                keras.layers.Dense(2, kernel_regularizer=regularizer),
            ]
        )
        model.compile(optimizer, "mse")
        model.fit(x, y, epochs=5, shuffle=False, verbose=0)
        return model.get_weights()

    regularized = trained(tfwd.AdamW(0.01), keras.regularizers.L2(0.05))
    with_l2 = trained(
        tfwd.Adam(
            0.01,
            weight_decay=0.1,
            exclude_from_weight_decay="@standard",
        )
    )
    assert harness.relative_error(with_l2, regularized) <= 2e-6
