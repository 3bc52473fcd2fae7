"""The names that the callbacks had are still theirs, with a warning."""

import keras
import pytest

import tfwd

HAS_CURVATURE = keras.backend.backend() in ("tensorflow", "jax")


@pytest.mark.parametrize(
    ("room", "name"),
    [
        ("optimizers", "OvershootWarning"),
        ("optimizers", "SkippedSteps"),
        ("optimizers", "WeightDecayLogger"),
        *(
            pytest.param(
                *("diagnostics", name),
                marks=pytest.mark.skipif(not HAS_CURVATURE, reason="backend"),
            )
            for name in (
                "DecayScopeSwitch",
                "MechanismLogger",
                "WeightNormTransfer",
            )
        ),
    ],
)
def test_an_old_name_warns_and_is_the_callback(room, name):
    room = getattr(tfwd, room)
    with pytest.warns(
        DeprecationWarning, match=f"; use `tfwd.callbacks.{name}`"
    ):
        assert getattr(room, name) is getattr(tfwd.callbacks, name)
    assert name not in room.__all__


def test_names_of_the_face_are_the_callbacks():
    for name in ("OvershootWarning", "SkippedSteps", "WeightDecayLogger"):
        assert getattr(tfwd, name) is getattr(tfwd.callbacks, name)
        assert name in tfwd.__all__ and name in dir(tfwd)
    for room in (tfwd.callbacks, tfwd.optimizers):
        with pytest.raises(AttributeError, match="has no attribute 'AdamX'"):
            _ = room.AdamX
