"""The presets choose exactly these variables of real layers."""

import collections
import csv

import pytest

from tfwd.optimizers import presets
from tfwd_tests.optimizers import networks
from tfwd_tests.optimizers import record_backbones


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


def recorded():
    """Returns {backbone: its (path, rank, role)}."""
    found = collections.defaultdict(list)
    with record_backbones.PATH.open() as file:
        for row in csv.DictReader(file):
            variable = (row["path"], int(row["rank"]), row["role"])
            found[row["backbone"]].append(variable)
    return found


RECORDED = recorded()


def test_many_backbones_are_recorded():
    assert len(RECORDED) >= 40
    roles = {role for rows in RECORDED.values() for _, _, role in rows}
    assert roles == {"kernel", "bias", "norm", "embedding", "vector"}


@pytest.mark.parametrize("backbone", RECORDED)
def test_presets_choose_by_path_what_the_layers_classes_say(backbone):
    for path, rank, role in RECORDED[backbone]:
        chosen = {
            name for name, is_in in presets.PRESETS.items()
            if is_in(path, (2,) * rank)
        }  # fmt: skip
        if role == "kernel":
            assert chosen == set(), path
            continue
        assert "@standard" in chosen, path
        if role != "vector":
            assert f"@{role}" in chosen, path
        if role in ("norm", "vector"):
            assert "@embedding" not in chosen, path


@pytest.mark.parametrize(
    ("path", "rank", "preset"),
    [
        ("vit/cls_token", 3, "@embedding"),
        ("vit/dist_token", 3, "@embedding"),
        ("dino/register_tokens", 3, "@embedding"),
        ("mae/mask_token", 3, "@embedding"),
        ("blip/query_tokens", 3, "@embedding"),
        ("detr/object_queries", 2, "@embedding"),
        ("perceiver/latents", 2, "@embedding"),
        ("vit/pos_embed", 3, "@embedding"),
        ("vit/absolute_pos_embed", 3, "@embedding"),
        ("swin/attn/relative_position_bias_table", 2, "@embedding"),
        ("beit/attn/relative_position_bias", 3, "@embedding"),
        ("t5/relative_attention_bias/embeddings", 2, "@embedding"),
        ("sam/attn/rel_pos_h", 2, "@embedding"),
        ("gpt/wte/weight", 2, "@embedding"),
        ("llama/embed_tokens/weight", 2, "@embedding"),
        ("bert/token_embedding/embeddings", 2, "@embedding"),
        ("transformer/positional_encoding", 2, "@embedding"),
        ("blocks_0/ls1/gamma", 3, "@norm"),
        ("convnext/layer_scale/gamma", 4, "@norm"),
        ("cait/gamma_1", 3, "@norm"),
        ("block/layer_scale_1", 3, "@norm"),
        ("beit/lambda_2", 2, "@norm"),
        ("dinov2/layer_scale1/lambda1", 3, "@norm"),
        ("convnext/block/layer_scale_parameter", 4, "@norm"),
        ("efficientformer/layer_scale_token", 3, "@norm"),
        ("metaformer/res_scale1/scale", 4, "@norm"),
        ("vit/block/attn_residual_scale", 3, "@norm"),
        ("stage/p_re_lu/alpha", 3, "@standard"),
        ("swin_v2/attn/logit_scale", 3, "@standard"),
        ("xcit/attn/temperature", 3, "@standard"),
        ("nfnet/conv/gain", 4, "@standard"),
        ("gru/biases", 2, "@bias"),
        ("levit/attn/attention_biases", 2, "@bias"),
        ("conformer/attn/pos_bias_u", 2, "@bias"),
        ("conformer/attn/pos_bias_v", 2, "@bias"),
        ("transformer_xl/r_w_bias", 2, "@bias"),
        ("torch/lstm/bias_ih_l0", 2, "@bias"),
        ("torch/lstm/bias_hh_l1_reverse", 2, "@bias"),
        ("experts/gate_up_proj_bias", 2, "@bias"),
        ("attention/bias_k", 3, "@bias"),
        ("siglip/head/probe", 3, "@embedding"),
        ("prefix/soft_prompt", 3, "@embedding"),
        ("vq/codebook", 2, "@embedding"),
        ("vit/patch_embed/proj/kernel", 4, None),
        ("vit/patch_embedding/kernel", 4, None),
        ("vit/patch_embed/weight", 2, None),
        ("gpt_neox/embed_out/kernel", 2, None),
        ("gpt_neox/embed_out/weight", 2, None),
        ("bert/token_embedding/reverse_embeddings", 2, None),
        ("albert/embeddings_project/kernel", 2, None),
        ("embed_dense/kernel", 2, None),
        ("t5/lm_head/kernel", 2, None),
        ("attention/query/kernel", 3, None),
        ("conv/depthwise_kernel", 4, None),
        ("lstm/lstm_cell/recurrent_kernel", 2, None),
        ("torch/lstm/weight_ih_l0", 2, None),
        ("conformer/attn/linear_pos/weight", 2, None),
        ("token_classifier/weight", 2, None),
        ("linear_probe/weight", 2, None),
        ("attn/bias_net/kernel", 2, None),
        ("attn/bias_proj", 2, None),
        ("block/layer_scale/kernel", 2, None),
        ("block/skip_scale_conv/kernel", 4, None),
        ("dense/variable", 3, None),
    ],
)
def test_common_names_are_of_their_role(path, rank, preset):
    shape = (2,) * rank
    if preset is None:
        assert not any(f(path, shape) for f in presets.PRESETS.values())
    else:
        assert presets.PRESETS[preset](path, shape)
        assert presets.PRESETS["@standard"](path, shape)


@pytest.mark.parametrize(
    ("path", "shape", "is_token"),
    [
        ("siglip/head/variable", (1, 1, 8), True),
        ("siglip/head/variable_3", (1, 1, 8), True),
        ("vit/variable", (1, 17, 8), True),
        ("patches/parameter", (1, 4, 4, 8), True),
        ("own_dense/variable", (6, 8), False),
        # Of one input, or one token: nothing tells.
        ("own_dense/variable", (1, 8), False),
        ("own_attention/variable", (4, 2, 8), False),
        ("own_conv/variable", (3, 3, 4, 8), False),
        # A kernel of one offset and channel has the name of a kernel.
        ("conv1d/kernel", (1, 1, 8), False),
        ("pointwise/kernel", (1, 1, 4, 8), False),
    ],
)
def test_a_variable_without_a_name_is_a_token_by_its_shape(
    path, shape, is_token
):
    for preset in ("@embedding", "@standard"):
        assert presets.PRESETS[preset](path, shape) == is_token
    assert not presets.PRESETS["@bias"](path, shape)
    assert not presets.PRESETS["@norm"](path, shape)
