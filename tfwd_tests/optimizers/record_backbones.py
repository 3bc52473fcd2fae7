"""Records the variables of KerasHub's backbones and the role of each.

In an environment with keras-hub and a backend (0.32 and JAX were used):

    KERAS_BACKEND=jax python -m tfwd_tests.optimizers.record_backbones

writes `backbones.csv` beside this file. The role comes from the class of the
layer that owns the variable, never from a name, but for variables that a
backbone's own layer adds by itself; these stand in `OWN`, read one by one.
"""

import csv
import inspect
import pathlib
import re

import keras

PATH = pathlib.Path(__file__).with_name("backbones.csv")
ARGUMENTS = {
    "embedding_dim": 4,
    "encoder_num_heads": 2,
    "decoder_num_heads": 2,
    "encoder_num_layers": 1,
    "decoder_num_layers": 1,
    "filter_dim": 8,
    "global_attention_layer_indices": [0],
    "head_dim": 4,
    "head_size": 4,
    "hidden_dim": 8,
    "hidden_size": 8,
    "image_shape": (32, 32, 3),
    "image_size": 16,
    "intermediate_dim": 8,
    "mlp_dim": 8,
    "moe_intermediate_dim": 8,
    "num_attention_heads": 2,
    "num_experts": 2,
    "num_heads": 2,
    "num_key_value_heads": 2,
    "num_layers": 1,
    "num_query_heads": 2,
    "patch_size": 8,
    "position_embedding_shape": (32, 32, 3),
    "shared_expert_intermediate_dim": 8,
    "tie_embedding_weights": False,
    "tie_word_embeddings": False,
    "top_k": 1,
    "vocab_size": 12,
    "vocabulary_size": 12,
}
BACKBONES = {
    "AlbertBackbone": {},
    "BartBackbone": {},
    "BertBackbone": {},
    "BloomBackbone": {},
    "DINOV2Backbone": {"num_register_tokens": 2},
    "DINOV3Backbone": {},
    "DebertaV3Backbone": {},
    "DeiTBackbone": {},
    "DenseNetBackbone": {"stackwise_num_repeats": [1, 1, 1]},
    "DistilBertBackbone": {},
    "ESM2Backbone": {"position_embedding_type": "absolute"},
    "ElectraBackbone": {},
    "FNetBackbone": {},
    "FalconBackbone": {},
    "GPT2Backbone": {},
    "GPTNeoXBackbone": {},
    "Gemma3Backbone": {},
    "GemmaBackbone": {},
    "GptOssBackbone": {},
    "Llama3Backbone": {},
    "LlamaBackbone": {},
    "MistralBackbone": {},
    "MixtralBackbone": {},
    "MoonshineBackbone": {},
    "OPTBackbone": {},
    "Phi3Backbone": {},
    "Qwen2Backbone": {},
    "Qwen3Backbone": {},
    "QwenMoeBackbone": {},
    "ResNetBackbone": {
        "input_conv_filters": [64],
        "input_conv_kernel_sizes": [3],
        "stackwise_num_filters": [64],
        "stackwise_num_blocks": [1],
        "stackwise_num_strides": [1],
        "block_type": "basic_block",
    },
    "RobertaBackbone": {},
    "RoformerV2Backbone": {},
    "SwinTransformerBackbone": {
        "embed_dim": 8,
        "depths": [1],
        "num_heads": [2],
        "window_size": 4,
        "patch_size": 4,
    },
    "T5Backbone": {},
    "VGGBackbone": {"stackwise_num_repeats": [1], "stackwise_num_filters": [8]},
    "ViTBackbone": {},
    "ViTDetBackbone": {"hidden_size": 8, "num_heads": 2},
    "WhisperBackbone": {},
    "XLMRobertaBackbone": {},
    "XLNetBackbone": {},
}
# What layers of these classes hold beside a bias.
NORMALIZATIONS = (
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
    keras.layers.GroupNormalization,
    keras.layers.RMSNormalization,
)
KERNELS = (
    keras.layers.Dense,
    keras.layers.EinsumDense,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
)
# KerasHub's own normalizations and layer scales, of one variable each.
SCALES = re.compile(r".*(Norm|Normalization|LayerScale)")
# What other layers of KerasHub add by themselves: (class, name's pattern).
OWN = {
    ("PositionEmbedding", "embeddings"): "embedding",
    ("RelativeEmbedding", "rel_embedding"): "embedding",
    ("DINOV[23]Embedding", ".*_tokens?|.*_embeddings"): "embedding",
    ("DeiTEmbeddings", ".*_token|position_embedding"): "embedding",
    ("ViTPatchingAndEmbedding", "class_token"): "embedding",
    ("AddPositionalEmbedding", "pos_embed"): "embedding",
    ("AddRelativePositionalEmbedding", "rel_pos_[hw]"): "embedding",
    ("WindowAttention", "relative_position_bias_table"): "embedding",
    ("T5MultiHeadAttention", "embeddings"): "embedding",
    ("XLNetAttentionMaskLayer", "mask_emb"): "embedding",
    ("XLNetEncoder", "segment_encoding"): "embedding",
    ("XLNetEncoder", ".*_attention_bias"): "bias",
    (".*Experts", ".*_bias"): "bias",
    (".*Experts", ".*_(proj|dense)"): "kernel",
    ("GptOssAttention", "sinks"): "vector",
}


def role(layer, variable):
    """Returns "kernel", "bias", "norm", "embedding" or "vector"."""
    if any(variable is getattr(layer, n, None) for n in ("bias", "_bias")):
        return "bias"
    if isinstance(layer, NORMALIZATIONS):
        return "norm"
    if isinstance(layer, KERNELS):
        return "kernel"
    if isinstance(layer, keras.layers.Embedding):
        is_output = variable is getattr(layer, "reverse_embeddings", None)
        return "kernel" if is_output else "embedding"
    name = type(layer).__name__
    if SCALES.fullmatch(name):
        return "norm"
    for (layers, variables), found in OWN.items():
        if re.fullmatch(layers, name) and re.fullmatch(
            variables, variable.name
        ):
            return found
    raise ValueError(f"No role is known of {variable.path} of {name}")


def make(name, given):
    import keras_hub

    cls = getattr(keras_hub.models, name)
    known = inspect.signature(cls.__init__).parameters
    chosen = {n: v for n, v in ARGUMENTS.items() if n in known} | given
    return cls(**chosen)


def rows(name, model):
    """Yields a row for each variable; of names equal but for numbers, one."""
    seen = set()
    for layer in model._flatten_layers():
        inner = {
            id(v)
            for each in layer._flatten_layers(include_self=False)
            for v in each.variables
        }
        for variable in layer.trainable_variables:
            if id(variable) in inner:
                continue
            path = re.sub(r"\d+", "0", variable.path)
            row = (name, path, len(variable.shape), role(layer, variable))
            if row not in seen:
                seen.add(row)
                yield row


def main():
    found = []
    for name, given in BACKBONES.items():
        found += rows(name.removesuffix("Backbone"), make(name, given))
    with PATH.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(
            [("backbone", "path", "rank", "role"), *found]
        )


if __name__ == "__main__":
    main()
