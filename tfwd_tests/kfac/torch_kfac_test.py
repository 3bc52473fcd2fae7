"""K-FAC says that it does not run on torch."""

import pytest

import tfwd


def test_kfac_names_the_backends_it_needs():
    with pytest.raises(ValueError, match="tensorflow or jax"):
        tfwd.KFAC()
