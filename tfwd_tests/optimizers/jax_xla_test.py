"""What XLA makes of a step on JAX."""

import jax
import keras
import pytest

import tfwd


@pytest.mark.parametrize(
    "optimizer",
    [
        tfwd.AdamW,
        tfwd.AdamS,
        tfwd.SGDW,
        tfwd.SGDS,
        tfwd.RAdam,
        tfwd.AMSGradS,
        tfwd.AdaiS,
    ],
)
def test_a_step_has_no_branch_for_whose_predicate_a_device_waits(optimizer):
    """But in mode "l2", see `tfwd.optimizers.backend.xla.apart`.

    And on a CPU, where large gradients are looked at again if they may be
    without a square.
    """
    optimizer = optimizer(0.1, weight_decay=0.1)
    variables = [keras.Variable(keras.random.normal((48, 64)))]
    optimizer.build(variables)

    def update(values, own, gradients):
        return optimizer.stateless_apply(own, gradients, values)

    values = [v.value for v in variables]
    own = [v.value for v in optimizer.variables]
    lowered = jax.jit(update).lower(values, own, values)
    text = lowered.as_text()
    assert "stablehlo.select" in text
    assert "stablehlo.case" not in text and "stablehlo.if" not in text
