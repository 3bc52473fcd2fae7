"""Which variables decay, and how much: rules over variable paths.

A rule is a pattern and a factor that multiplies λ; exclusion is the factor 0.
A pattern is a regular expression searched in the variable's path
(`encoder/dense_1/kernel`), or one of `tfwd.optimizers.presets`.
"""

import collections.abc
import dataclasses
import math
import re

from tfwd.optimizers import arguments
from tfwd.optimizers import presets


@dataclasses.dataclass(frozen=True)
class Rule:
    """Multiplies λ by `factor` where `pattern` matches.

    Attributes:
        argument: The name of the argument it came in, for messages.
        pattern: A regular expression or a preset.
        factor: A finite float of at least 0.

    Raises:
        ValueError: If the pattern or the factor is not valid.
    """

    argument: str
    pattern: str
    factor: float

    def __post_init__(self):
        """Checks pattern and factor."""
        shown = arguments.shown(self.pattern, repr)
        received = f"Received: {self.argument}={shown}"
        if not isinstance(self.pattern, str):
            raise ValueError(f"`{self.argument}` must hold strings. {received}")
        if self.pattern.startswith("@"):
            choices = tuple(presets.PRESETS)
            arguments.check_choice(self.argument, self.pattern, choices)
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ValueError(
                f"`{self.argument}` must hold regular expressions or presets "
                f"({', '.join(presets.PRESETS)}): {error}. {received}"
            ) from None
        name = f"{self.argument}[{self.pattern!r}]"
        factor = arguments.check_interval(name, self.factor, 0, math.inf)
        object.__setattr__(self, "factor", factor)

    def matches(self, variable):
        """Tells whether the rule is for this variable."""
        path = path_of(variable)
        if self.pattern in presets.PRESETS:
            return presets.PRESETS[self.pattern](path, variable.shape)
        return re.search(self.pattern, path) is not None


def exclusions(argument, patterns):
    """Returns the rules of a list of patterns, or of a single one."""
    if isinstance(patterns, str):
        patterns = (patterns,)
    try:
        patterns = tuple(patterns)
    except TypeError:
        raise ValueError(
            f"`{argument}` must be a list of patterns. "
            f"Received: {argument}={arguments.shown(patterns, repr)}"
        ) from None
    return tuple(Rule(argument, pattern, 0.0) for pattern in patterns)


def multipliers(argument, factors):
    """Returns the rules of a dict from pattern to factor, or of None."""
    if factors is None:
        return ()
    if not isinstance(factors, collections.abc.Mapping):
        raise ValueError(
            f"`{argument}` must be a dict from pattern to factor. "
            f"Received: {argument}={arguments.shown(factors, repr)}"
        )
    return tuple(Rule(argument, *item) for item in factors.items())


def path_of(variable):
    """Returns the path of a Keras variable, or a `tf.Variable`'s name."""
    return getattr(variable, "path", None) or variable.name.split(":")[0]


def exactly(variable):
    """Returns the pattern that matches this variable's path alone."""
    return f"^{re.escape(path_of(variable))}$"


def factors(variables, rules):
    """Returns the factor of λ for each variable, and the idle presets.

    The factor of a variable is the product of the factors of all rules that
    match it, so the order of the rules does not matter.

    Args:
        variables: Keras variables.
        rules: Sequence of `Rule`.

    Returns:
        A tuple of floats in the order of `variables`, and a tuple of the
        presets that match no variable.

    Raises:
        ValueError: If a regular expression matches no variable.
    """
    result = [1.0] * len(variables)
    idle_presets = []
    for rule in rules:
        matches = [rule.matches(variable) for variable in variables]
        if any(matches):
            result = [
                factor * rule.factor if match else factor
                for factor, match in zip(result, matches, strict=True)
            ]
        elif rule.pattern in presets.PRESETS:
            idle_presets.append(rule.pattern)
        else:
            paths = ", ".join(path_of(variable) for variable in variables)
            raise ValueError(
                f"`{rule.argument}` must match a variable with each pattern. "
                f"Received: {rule.pattern!r}, which matches none of: {paths}"
            )
    return tuple(result), tuple(idle_presets)


def shapes_of(variables):
    """Returns the shapes of variables as tuples of ints."""
    return tuple(tuple(int(n) for n in v.shape) for v in variables)


def as_records(selected):
    """Returns pairs of (shape, factor) as a config holds them."""
    return [
        {"shape": list(shape), "factor": factor} for shape, factor in selected
    ]


def from_records(records):
    """Returns the pairs of (shape, factor) that a config holds."""
    return tuple(
        (tuple(record["shape"]), float(record["factor"])) for record in records
    )


def restored(variables, selected):
    """Returns the factors of a saved selection, by position.

    Paths change when a model is loaded (`sequential/dense/kernel` comes back
    as `dense/kernel`), so patterns are never resolved a second time.

    Raises:
        ValueError: If the variables' shapes are not the saved ones.
    """
    expected = tuple(shape for shape, _ in selected)
    received = shapes_of(variables)
    if expected != received:
        raise ValueError(
            "A weight decay selection belongs to the variables it was made "
            f"for, of shapes {expected}; make a new optimizer for another "
            f"model. Received: variables of shapes {received}"
        )
    return tuple(factor for _, factor in selected)
