"""What the logger does not have on JAX."""

import pytest

from tfwd.callbacks import mechanism_logger


def test_tensorboard_is_refused(tmp_path):
    with pytest.raises(ValueError, match="`tensorboard` must be None"):
        mechanism_logger.MechanismLogger(
            tmp_path, [[1.0]], tensorboard=tmp_path
        )
