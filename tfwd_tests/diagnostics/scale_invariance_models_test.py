"""Which layers of the project's models are scale-invariant."""

import pytest

from tfwd import models
from tfwd.diagnostics import scale_invariance
from tfwd_tests.models import examining


def test_every_model_is_of_one_of_these_kinds():
    assert {*examining.IMAGE_MODELS, "lstm"} == set(models.NAMES)


@pytest.mark.parametrize("name", examining.abridged(examining.IMAGE_MODELS))
def test_with_normalization_all_layers_but_the_last_are_invariant(name):
    """For batch normalization is behind each of them, if not at once."""
    model = examining.small(name)
    found = scale_invariance.of_model(model)
    assert {one.weight_layer.layer for one in found} == {
        *examining.weight_layers(model)
    }
    for one in found:
        assert one.is_invariant == (one.weight_layer.name != "logits")


@pytest.mark.parametrize("name", ("mlp", "vgg11", "resnet20"))
def test_the_first_a_middle_and_the_last_layer_are_measured(name):
    model = examining.small(name)
    found = scale_invariance.of_model(model)
    some = [found[0], found[len(found) // 2], found[-1]]
    changes = scale_invariance.confirm(model, some, examining.images(8))
    # Doubling is exact in float32, but for rounding behind a bias.
    assert max(changes[:-1]) < 1e-5 and changes[-1] > 1e-3
