"""The arguments of Keras' own optimizer are checked as the library's are."""

import keras
import numpy as np
import pytest

import tfwd

BOUNDS = ("clipnorm", "clipvalue", "global_clipnorm")
NO_SIZE = (float("inf"), float("nan"), -1.0, 0, 1e-50, 1e39, True, "1")


def refusal(**arguments):
    with pytest.raises(ValueError) as error:
        tfwd.SGDW(0.1, **arguments)
    (line,) = str(error.value).splitlines()
    return line


@pytest.mark.parametrize("value", NO_SIZE, ids=str)
@pytest.mark.parametrize("name", [*BOUNDS, "loss_scale_factor"])
def test_a_bound_or_loss_scale_that_has_no_size_is_refused(name, value):
    line = refusal(**{name: value})
    assert line.startswith(f"`{name}` must be ")
    assert line.endswith(f" Received: {name}={value}")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("use_ema", "false"),
        ("use_ema", 1),
        ("ema_momentum", float("nan")),
        ("ema_momentum", 1.5),
        ("ema_momentum", None),
        ("ema_overwrite_frequency", 0),
        ("ema_overwrite_frequency", 2.0),
        ("ema_overwrite_frequency", True),
        ("gradient_accumulation_steps", 1),
        ("gradient_accumulation_steps", 2.0),
        ("gradient_accumulation_steps", float("nan")),
        ("gradient_accumulation_steps", 2**31),
        ("name", 3),
        ("name", "a/b"),
    ],
)
def test_other_arguments_of_keras_have_rules_also_where_unused(name, value):
    line = refusal(**{name: value})
    assert line.startswith(f"`{name}` must be ")
    assert line.endswith(f" Received: {name}={value}")


@pytest.mark.parametrize("second", ["clipvalue", "global_clipnorm"])
def test_two_bounds_together_are_refused(second):
    line = refusal(**{"clipnorm": 1.0, second: 2.0})
    assert line == (
        f"`clipnorm` must not be given together with `{second}`. "
        f"Received: clipnorm=1.0, {second}=2.0"
    )


def test_what_keras_takes_is_taken():
    optimizer = tfwd.SGDW(
        0.5,
        momentum=0.0,
        clipnorm=1.0,
        use_ema=True,
        ema_momentum=1,
        ema_overwrite_frequency=2,
        loss_scale_factor=8,
        gradient_accumulation_steps=None,
    )
    variable = keras.Variable(np.zeros(2, "float32"))
    # Loss scale undone, the norm of (3, 4) is 5, of which 1 is left.
    gradient = keras.ops.convert_to_tensor(np.float32([24, 32]))
    optimizer.apply([gradient], [variable])
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(variable), [-0.3, -0.4], rtol=1e-6
    )
