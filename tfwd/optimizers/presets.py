"""Named groups of variables, known by path and shape.

* `@bias`: the last part of the path is `bias` or ends in `_bias`;
* `@norm`: scale and shift of a normalisation: `gamma`, `beta`, or `scale`,
  `bias`, `offset`, `weight` of a layer whose name has a word such as `norm`,
  `normalization`, `bn` or `ln`;
* `@embedding`: the last part of the path contains `embed`;
* `@standard`: what the usual recipe leaves undecayed: the three above and
  every variable of one dimension or none.

An optimizer sees no layers, so these are heuristics on names; its
`weight_decay_summary()` shows what they chose.
"""

import re

_NORM_WORDS = frozenset(
    """norm norms normalization normalisation batchnorm layernorm groupnorm
    instancenorm rmsnorm bn ln gn""".split()
)


def _is_bias(path, shape):
    return re.search(r"(^|[/_])bias$", path) is not None


def _is_norm(path, shape):
    *layers, name = path.split("/")
    if name in ("gamma", "beta"):
        return True
    words = re.findall(r"[a-z]+", layers[-1].lower()) if layers else ()
    return name in ("scale", "bias", "offset", "weight") and not (
        _NORM_WORDS.isdisjoint(words)
    )


def _is_embedding(path, shape):
    return "embed" in path.rsplit("/", 1)[-1]


def _is_standard(path, shape):
    return (
        len(shape) <= 1
        or _is_bias(path, shape)
        or _is_norm(path, shape)
        or _is_embedding(path, shape)
    )


PRESETS = {
    "@bias": _is_bias,
    "@norm": _is_norm,
    "@embedding": _is_embedding,
    "@standard": _is_standard,
}
