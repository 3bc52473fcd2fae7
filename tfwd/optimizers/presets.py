"""Named groups of variables, known by path and shape.

* `@bias`: the variable is called `bias` or `..._bias`;
* `@norm`: scales and shifts: `gamma`, `beta`, also numbered; `scale`, `bias`,
  `offset`, `weight` of a layer whose name has a word such as `norm`,
  `normalization`, `bn` or `ln`; layer scales (`layer_scale`, `ls1`, `lambda1`)
  of any rank;
* `@embedding`: what stands for a token or a place: tables (`embeddings`,
  `position_embedding`, `relative_position_bias_table`, `rel_pos_h`), and the
  class, distillation, register, mask and query tokens that are joined with a
  sequence or added to it;
* `@standard`: what the usual recipe leaves undecayed: the three above, PReLU's
  `alpha`, and every variable of one dimension or none.

An optimizer sees no layers. A variable's own name tells its role first: Keras'
layers call a kernel `kernel` and a table `embeddings`, whatever the layer is
called, so that `patch_embedding/kernel` is a kernel, and so is the
`reverse_embeddings` of an output layer that is not tied to its input. Only a
name that tells nothing, such as `weight`, is read together with the layer's.
These are heuristics on names; `weight_decay_summary()` shows what they chose.
"""

import re

_NORM_WORDS = frozenset(
    """norm norms normalization normalisation batchnorm layernorm groupnorm
    instancenorm rmsnorm bn ln gn""".split()
)
_EMBEDDING_WORDS = frozenset(
    """embedding embeddings embed embeds emb token tokens wte wpe
    queries latents""".split()
)
# Words of names that have a word of an embedding, and are kernels.
_KERNEL_WORDS = frozenset(
    """kernel proj projection dense conv patch reverse unembed unembedding
    out output""".split()
)
_LAYER_SCALE = re.compile(r"(layer_?scale|ls|lambda)(_?\d+|_gamma)?")
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
    return re.search(r"(^|[/_])bias$", path) is not None


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
        or _split(path)[1] in ("alpha", "alphas")
    )


PRESETS = {
    "@bias": _is_bias,
    "@norm": _is_norm,
    "@embedding": _is_embedding,
    "@standard": _is_standard,
}
