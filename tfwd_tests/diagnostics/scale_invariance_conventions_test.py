"""Scale invariance without normalization, and in the other convention."""

import pytest

from tfwd.diagnostics import scale_invariance
from tfwd_tests.models import examining

OTHER = {
    "vgg11": "xie2022",
    "resnet20": "xie2022",
    "densenet121": "zhang2019",
    "googlenet": "zhang2019",
}


@pytest.mark.parametrize("name", OTHER)
def test_in_the_other_convention_the_same_layers_are_invariant(name):
    """With a bias before each normalization, or without."""
    model = examining.small(name, convention=OTHER[name])
    for one in scale_invariance.of_model(model):
        assert one.is_invariant == (one.weight_layer.name != "logits")


@pytest.mark.parametrize("name", examining.KINDS)
def test_without_normalization_no_layer_is_invariant(name):
    model = examining.small(name, batch_norm=False)
    found = scale_invariance.of_model(model)
    assert found and not any(one.is_invariant for one in found)


@pytest.mark.parametrize("name", ("mlp", "vgg11"))
def test_without_normalization_the_first_and_last_layer_are_measured(name):
    model = examining.small(name, batch_norm=False)
    found = scale_invariance.of_model(model)
    changes = scale_invariance.confirm(
        model, [found[0], found[-1]], examining.images(8)
    )
    assert min(changes) > 1e-3


def test_kernels_inside_the_recurrent_layers_are_not_known():
    found = scale_invariance.of_model(examining.small("lstm"))
    known = {one.weight_layer.name: one.is_invariant for one in found}
    assert known == {
        "embedding": False,
        "lstm1/lstm_cell/kernel": None,
        "lstm1/lstm_cell/recurrent_kernel": None,
        "lstm2/lstm_cell/kernel": None,
        "lstm2/lstm_cell/recurrent_kernel": None,
        "logits": False,
    }
