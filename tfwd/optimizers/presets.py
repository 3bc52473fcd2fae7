"""Named groups of variables, known by path and shape.

* `@bias`: the variable is called `bias`, `biases` or `..._bias`, or what is
  one by another name: `bias_ih_l0` of a recurrent layer, `pos_bias_u` that is
  added to the queries;
* `@norm`: scales and shifts: `gamma`, `beta`, also numbered; `scale`, `bias`,
  `offset`, `weight` of a layer whose name has a word such as `norm`,
  `normalization`, `bn` or `ln`; scales of a layer or a branch (`layer_scale`,
  `ls1`, `lambda1`, `res_scale`) of any rank;
* `@embedding`: what stands for a token or a place: tables (`embeddings`,
  `position_embedding`, `relative_position_bias_table`, `rel_pos_h`), and the
  class, distillation, register, mask, query and probe tokens that are joined
  with a sequence or added to it, a variable without a name of its own among
  them whose shape is that of one: [1, tokens, features];
* `@standard`: what the usual recipe leaves undecayed: the three above, PReLU's
  `alpha`, `logit_scale`, `temperature` and `gain` of any rank, and every
  variable of one dimension or none.

An optimizer sees no layers. A variable's own name tells its role first: Keras'
layers call a kernel `kernel` and a table `embeddings`, whatever the layer is
called, so that `patch_embedding/kernel` is a kernel, and so is the
`reverse_embeddings` of an output layer that is not tied to its input. Only a
name that tells nothing, such as `weight`, is read together with the layer's,
and `variable`, as Keras calls one that was given no name, by its shape.
These are heuristics on names; `weight_decay_summary()` shows what they chose.
"""

import re

_NORM_WORDS = frozenset(
    """norm norms normalization normalisation batchnorm layernorm groupnorm
    instancenorm rmsnorm bn ln gn""".split()
)
_EMBEDDING_WORDS = frozenset(
    """embedding embeddings embed embeds emb token tokens wte wpe
    queries latents probe probes prompt prompts codebook codebooks""".split()
)
# Words of names that have a word of an embedding, and are kernels.
_KERNEL_WORDS = frozenset(
    """kernel proj projection dense conv linear fc mlp head classifier patch
    reverse unembed unembedding out output""".split()
)
# Words of names that have the word bias, and are no bias of a layer.
_NOT_BIAS_WORDS = frozenset(
    """kernel weight weights proj projection dense conv linear fc mlp net
    table embedding embeddings""".split()
)
_LAYER_SCALE = re.compile(
    r"(ls|lambda)(_?\d+|_gamma)?"
    r"|(.*_)?(layer|res|residual|skip|branch)_?scales?(_?\d+|_[a-z\d_]+)?"
)
# As Keras and its users call a variable that has no name.
_NAMELESS = re.compile(r"(variable|param|parameter)(_\d+)?")
_SCALARS = re.compile(r"alphas?|gains?|(.*_)?(logit_scale|temperature)s?|tau")
_TABLE = re.compile(
    r".*_table"
    r"|(abs|rel|absolute|relative)_pos(ition)?(_[a-z])?"
    r"|(.*_)?(pos|position|positional|segment)(_enc|_encodings?)"
    r"|(.*_)?relative_(position|attention)_bias"
)


def _words(name):
    return set(re.findall(r"[a-z]+", name.lower()))


def _split(path):
    """Returns the layer's name, "" if there is none, and the variable's."""
    *layers, name = path.split("/")
    return layers[-1] if layers else "", name


def _is_bias(path, shape):
    _, name = _split(path.lower())
    if re.search(r"(^|_)bias(es)?$", name):
        return True
    words = _words(name)
    has_bias = not words.isdisjoint(("bias", "biases"))
    return has_bias and words.isdisjoint(_NOT_BIAS_WORDS)


def _is_norm(path, shape):
    layer, name = _split(path)
    if re.fullmatch(r"(gamma|beta)(_?\d+)?", name):
        return True
    if any(map(_LAYER_SCALE.fullmatch, (layer, name))):
        return not _words(name) & _KERNEL_WORDS
    of_norm = not _NORM_WORDS.isdisjoint(_words(layer))
    return of_norm and name in ("scale", "bias", "offset", "weight")


def _is_embedding(path, shape):
    layer, name = _split(path)
    if _NAMELESS.fullmatch(name):
        return len(shape) > 2 and shape[0] == 1
    if name == "weight" and len(shape) == 2:
        name = layer
    words = _words(name)
    if not words.isdisjoint(_KERNEL_WORDS):
        return False
    if not words.isdisjoint(_EMBEDDING_WORDS):
        return True
    return _TABLE.fullmatch(name.lower()) is not None


def _is_standard(path, shape):
    return (
        len(shape) <= 1
        or _is_bias(path, shape)
        or _is_norm(path, shape)
        or _is_embedding(path, shape)
        or _SCALARS.fullmatch(_split(path)[1]) is not None
    )


PRESETS = {
    "@bias": _is_bias,
    "@norm": _is_norm,
    "@embedding": _is_embedding,
    "@standard": _is_standard,
}
