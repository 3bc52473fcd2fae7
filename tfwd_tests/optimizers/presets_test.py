"""The presets choose exactly these variables of real layers."""

import pytest

from tfwd.optimizers import presets
from tfwd_tests.optimizers import networks


@pytest.mark.parametrize(
    ("preset", "paths"),
    [
        ("@bias", networks.BIASES),
        ("@norm", networks.NORMS),
        ("@embedding", networks.EMBEDDINGS),
        (
            "@standard",
            networks.UNDECAYED,
        ),
    ],
)
def test_preset_excludes_exactly_these_paths(preset, paths):
    variables = networks.network().trainable_variables
    factors = networks.factors_by_path(
        variables, exclude_from_weight_decay=[preset]
    )
    assert networks.excluded(factors) == paths
    assert set(factors) == networks.DECAYED | networks.UNDECAYED
    assert set(factors.values()) == {0.0, 1.0}


@pytest.mark.parametrize(
    ("path", "is_norm"),
    [
        ("bn/bias", True),
        ("bn1/bias", True),
        ("block_1/BN/weight", True),
        ("encoder/ln_f/scale", True),
        ("stage/InstanceNorm_3/offset", True),
        ("gamma", True),
        ("normal_head/bias", False),
        ("block1_bn/dense/bias", False),
        ("abnormal/scale", False),
        ("lnet/bias", False),
        ("bn/kernel", False),
        ("scale", False),
    ],
)
def test_a_norm_is_known_by_a_whole_word_of_its_layer_s_name(path, is_norm):
    assert presets.PRESETS["@norm"](path, (3,)) == is_norm
