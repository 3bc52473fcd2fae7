"""Which variables decay, and how much: rules over variable paths.

A rule is a pattern and a factor that multiplies λ; exclusion is the factor 0.
A pattern is a regular expression searched in the variable's path
(`encoder/dense_1/kernel`) or one of the presets:

* `@bias`: the last part of the path is `bias` or ends in `_bias`;
* `@norm`: scale and shift of a normalisation: `gamma`, `beta`, or `scale`,
  `bias`, `offset`, `weight` of a layer whose name has a word such as `norm`,
  `normalization`, `bn` or `ln`;
* `@embedding`: the last part of the path contains `embed`;
* `@standard`: what the usual recipe leaves undecayed: the three above and
  every variable of one dimension or none.
"""

import math
import re

from tfwd.optimizers import arguments

_NORM_WORDS = frozenset(
    """norm norms normalization normalisation batchnorm layernorm groupnorm
    instancenorm rmsnorm bn ln gn""".split()
)


def path_of(variable):
    """Returns the path of a Keras variable, or a `tf.Variable`'s name."""
    return getattr(variable, "path", None) or variable.name.split(":")[0]


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


def check_pattern(argument, pattern):
    """Raises `ValueError` unless `pattern` is a preset or a valid regex."""
    if isinstance(pattern, str) and pattern.startswith("@"):
        arguments.check_choice(argument, pattern, tuple(PRESETS))
        return
    try:
        re.compile(pattern)
    except (re.error, TypeError) as error:
        raise ValueError(
            f"`{argument}` must hold regular expressions or presets "
            f"({', '.join(PRESETS)}); {error}. Received: {pattern!r}"
        ) from None


def factors(variables, rules):
    """Returns the factor of λ for each variable, and the idle presets.

    The factor of a variable is the product of the factors of all rules that
    match it, so the order of the rules does not matter.

    Args:
        variables: Keras variables.
        rules: Sequence of (pattern, factor).

    Returns:
        A list of floats in the order of `variables`, and the list of presets
        that match no variable.

    Raises:
        ValueError: If a regular expression matches no variable.
    """
    result = [1.0] * len(variables)
    idle_presets = []
    for pattern, factor in rules:
        matches = [_matches(pattern, variable) for variable in variables]
        if not any(matches):
            if pattern not in PRESETS:
                paths = ", ".join(path_of(v) for v in variables)
                raise ValueError(
                    "Every weight decay pattern must match a variable. "
                    f"Received: {pattern!r}, which matches none of: {paths}"
                )
            idle_presets.append(pattern)
        result = [
            value * factor if match else value
            for value, match in zip(result, matches, strict=True)
        ]
    return result, idle_presets


def _matches(pattern, variable):
    path, shape = path_of(variable), variable.shape
    if pattern in PRESETS:
        return PRESETS[pattern](path, shape)
    return re.search(pattern, path) is not None


def saved(variables, factors):
    """Returns factors with shapes, as they are written into a config."""
    return [
        {"shape": [int(n) for n in variable.shape], "factor": factor}
        for variable, factor in zip(variables, factors, strict=True)
    ]


def restored(variables, records):
    """Returns the factors of a config, by position.

    Paths change when a model is loaded (`sequential/dense/kernel` comes back
    as `dense/kernel`), so patterns are never resolved a second time.

    Raises:
        ValueError: If the variables' shapes are not those of the records.
    """
    expected = [tuple(record["shape"]) for record in records]
    received = [tuple(int(n) for n in v.shape) for v in variables]
    if expected != received:
        raise ValueError(
            "A weight decay selection belongs to the variables it was made "
            f"for, of shapes {expected}; make a new optimizer for another "
            f"model. Received: variables of shapes {received}"
        )
    return [float(record["factor"]) for record in records]


def exactly(variable):
    """Returns the pattern that matches this variable's path alone."""
    return f"^{re.escape(path_of(variable))}$"


def check_factor(pattern, factor):
    """Raises `ValueError` unless a multiplier is a finite number >= 0."""
    arguments.check_interval(
        f"weight_decay_multipliers[{pattern!r}]", factor, 0, math.inf
    )
