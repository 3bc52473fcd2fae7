"""Which variables decay and move, and how much: rules over variable paths.

A rule is a pattern and a factor that multiplies λ or η; exclusion from the
decay is the factor 0.
A pattern is a regular expression searched in the variable's path
(`encoder/dense_1/kernel`), or one of `tfwd.optimizers.presets`.
"""

import collections
import dataclasses
import math
import re

from tfwd import arguments
from tfwd.optimizers import presets

# Of Keras' method `exclude_from_weight_decay`.
KERAS_ARGUMENT = "var_names"


@dataclasses.dataclass(frozen=True)
class Rule:
    """Multiplies λ or η by `factor` where `pattern` matches.

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
            matches_nothing = re.search(self.pattern, "") is not None
        except re.error as error:
            raise ValueError(
                f"`{self.argument}` must hold regular expressions or presets "
                f"({', '.join(presets.PRESETS)}): {error}. {received}"
            ) from None
        if matches_nothing:
            raise ValueError(
                f"`{self.argument}` must hold patterns that do not match the "
                "empty string, for those match every path; '.' stands for "
                f"all. {received}"
            )
        name = f"{self.argument}[{self.pattern!r}]"
        factor = arguments.check_interval(name, self.factor, 0, math.inf)
        object.__setattr__(self, "factor", factor)

    @property
    def is_preset(self):
        """Whether the pattern is the name of a preset."""
        return self.pattern in presets.PRESETS

    @property
    def must_match(self):
        """Whether it is a mistake that no variable matches.

        It is none of a preset, nor of Keras' method, which names what a model
        may lack, such as biases.
        """
        return not self.is_preset and self.argument != KERAS_ARGUMENT

    def matches(self, variable):
        """Returns whether the rule is for this variable."""
        path = path_of(variable)
        if self.is_preset:
            return presets.PRESETS[self.pattern](path, variable.shape)
        return re.search(self.pattern, path) is not None


def exclusions(argument, patterns):
    """Returns the rules of a list of patterns, or of a single one."""
    if isinstance(patterns, str):
        patterns = (patterns,)
    try:
        if isinstance(patterns, collections.abc.Mapping | bytes):
            raise TypeError
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


def shape_of(variable):
    """Returns the shape of a variable as a tuple of ints."""
    return tuple(int(n) for n in variable.shape)


def exactly(variable):
    """Returns the pattern that matches this variable's path alone."""
    return f"^{re.escape(path_of(variable))}$"


def factors(variables, rules):
    """Returns the factor for each variable, and the unmatched rules.

    The factor of a variable is the product of the factors of all rules that
    match it, so the order of the rules does not matter.

    Args:
        variables: Keras variables.
        rules: Sequence of `Rule`.

    Returns:
        A tuple of floats in the order of `variables`, and a tuple of the rules
        that match no variable.
    """
    result = [1.0] * len(variables)
    unmatched = []
    for rule in rules:
        matches = [rule.matches(variable) for variable in variables]
        if not any(matches):
            unmatched.append(rule)
        result = [
            factor * rule.factor if match else factor
            for factor, match in zip(result, matches, strict=True)
        ]
    return tuple(result), tuple(unmatched)


def shared_paths(variables):
    """Returns the paths that several variables have."""
    counts = collections.Counter(map(path_of, variables))
    return [path for path, count in counts.items() if count > 1]
