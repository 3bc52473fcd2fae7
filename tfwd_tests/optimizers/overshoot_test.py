"""A decay rate of one or more is recorded, and reported once.

Covers `overshoot_warning`.
"""

import keras
import numpy as np
import pytest

import tfwd
from tfwd_tests import keras_features
from tfwd_tests.optimizers import networks

COEFFICIENTS = (0.5, 0.99, 1.0, 5.0, 0.1)
RECORDED = [0, 0, 3, 3, 3]


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: tfwd.SGDW(1.0), RECORDED),
        # s = 4
        (lambda: tfwd.SGDS(0.25, momentum=0.75), RECORDED),
        # v̂ = 0.25, s = 2, and a little more, for s is rounded
        (lambda: tfwd.AdamS(0.502), RECORDED),
        (lambda: tfwd.Adam(0.502, weight_decay_mode="elementwise"), RECORDED),
        (lambda: tfwd.SGD(9.0, weight_decay_mode="independent"), RECORDED),
        (
            lambda: tfwd.SGDW(0.5, weight_decay_multipliers={"kernel": 2.0}),
            RECORDED,
        ),
        (
            lambda: tfwd.SGDW(0.5, learning_rate_multipliers={"kernel": 2.0}),
            RECORDED,
        ),
        (
            lambda: tfwd.SGDW(2.0, learning_rate_multipliers={"kernel": 0.0}),
            [0] * 5,
        ),
        (
            lambda: tfwd.SGDW(
                0.5,
                weight_decay_schedule=tfwd.schedules.step_decay(
                    1.0, 3, (1,), factor=0.4
                ),
            ),
            [0, 0, 0, 4, 4],
        ),
        (lambda: tfwd.SGD(1.0), [0] * 5),
        (
            lambda: tfwd.SGDW(1.0, exclude_from_weight_decay="kernel"),
            [0] * 5,
        ),
    ],
    ids=[
        "decoupled",
        "stable",
        "adaptive",
        "elementwise",
        "independent",
        "multiplier",
        "rate_multiplier",
        "frozen",
        "schedule",
        "l2",
        "excluded",
    ],
)
def test_the_first_overshoot_is_recorded_and_never_overwritten(
    make, expected, jit_compile
):
    optimizer = make()
    model = networks.linear_model(optimizer, jit_compile)
    recorded = []
    for coefficient in COEFFICIENTS:
        optimizer.weight_decay = coefficient
        model.train_on_batch(np.full((1, 2), 0.5), np.zeros((1, 1)))
        recorded.append(networks.number(optimizer.first_overshoot_step))
    assert recorded == expected


def in_loss_scaling(optimizer):
    return keras.optimizers.LossScaleOptimizer(optimizer)


def in_a_group(optimizer):
    return keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(
            tfwd.SGDW(1.0, 0.5, name="calm"), {".*/kernel": optimizer}
        )
    )


@pytest.mark.parametrize(
    "wrap",
    [
        pytest.param(lambda o: o, id=""),
        pytest.param(in_loss_scaling, id="loss"),
        pytest.param(
            in_a_group, id="group", marks=keras_features.needs_multi_optimizer
        ),
    ],
)
def test_fit_warns_of_an_overshoot_once(wrap):
    optimizer = tfwd.SGDW(1.0, 1.5, name="wild")
    model = networks.linear_model(wrap(optimizer), use_bias=True)
    with pytest.warns(UserWarning) as caught:
        model.fit(
            np.ones((4, 2)),
            np.zeros((4, 1)),
            batch_size=2,
            epochs=2,
            verbose=0,
            callbacks=[tfwd.OvershootWarning()],
        )
    texts = [str(warning.message) for warning in caught]
    (text,) = [text for text in texts if "Weight decay of" in text]
    assert text.startswith("Weight decay of wild ")
    assert "first at step 1:" in text
    lines = []
    optimizer.weight_decay_summary(lines.append)
    assert "Decay rate of one or more, first at step 1" in lines[0].split("\n")
