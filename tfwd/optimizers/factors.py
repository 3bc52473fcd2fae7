"""The factor of λ of each variable: decided once, then kept by position."""

import dataclasses
import re
import warnings

from tfwd.optimizers import arguments
from tfwd.optimizers import selection

_SELECTED = "weight_decay_selection"
_RESTRICTION = "weight_decay_restriction"
_EXCLUDED = "weight_decay_excluded"


@dataclasses.dataclass(frozen=True)
class Record:
    """What is saved of one variable.

    Attributes:
        path: Its path, None in configs that do not hold it.
        shape: Its shape.
        factor: Its factor by the rules.
    """

    path: str | None
    shape: tuple[int, ...]
    factor: float

    def is_of(self, variable):
        """Returns whether a variable has this shape and this path's end."""
        if self.path is None or self.shape != selection.shape_of(variable):
            return False
        pairs = _aligned(self.path, selection.path_of(variable))
        return all(old == new for old, new in pairs)

    def as_config(self):
        """Returns the record as a config holds it."""
        return {**dataclasses.asdict(self), "shape": list(self.shape)}


class DecayFactors:
    """Decides the factors at the first build, and saves them by position.

    Paths change when a model is loaded (`sequential/dense/kernel` comes back
    as `dense/kernel`, `dense_1` as `dense_5`), so what was decided is kept by
    position for as long as the variables have the shapes and, up to such
    changes, the names of the first ones. For others the patterns are resolved
    anew.

    Args:
        exclusions: What `selection.exclusions` returned.
        multipliers: What `selection.multipliers` returned.

    Attributes:
        exclusions: Rules whose factor is zero.
        multipliers: Other rules.
        current: The factors in the order of the variables, None before
            `decide`.
        unmatched: The rules that match no variable: presets and, of an
            optimizer out of a config, any.
    """

    def __init__(self, exclusions, multipliers):
        self.exclusions = exclusions
        self.multipliers = multipliers
        self.current = None
        self.unmatched = ()
        # Variables by identity, or records of them out of a config.
        self._excluded = []
        self._excluded_records = ()
        self._is_restored = False
        self._saved, self._saved_restriction = (), ()
        self._decided, self._restriction = (), ()

    @property
    def rules(self):
        """All rules."""
        return self.exclusions + self.multipliers

    def exclude(self, variables, exclusions):
        """Excludes these very variables, and what rules match."""
        self._excluded += list(variables)
        self.exclusions += exclusions

    def decide(self, name, variables, overwritten):
        """Decides the factors of the variables.

        Args:
            name: The optimizer's name, for warnings.
            variables: Those that it trains.
            overwritten: For each of them whether it is no weight.

        Raises:
            ValueError: If a regular expression, or an excluded variable,
                matches none of the variables, the optimizer being new.
        """
        restriction = self._saved_restriction
        if self._saved and self._is_of(variables):
            factors = [record.factor for record in self._saved]
        else:
            if self._saved:
                warnings.warn(
                    f"The weight decay of {name} was decided for "
                    f"{len(self._saved)} variables of other names or shapes "
                    f"than these {len(variables)}; its patterns are resolved "
                    "anew.",
                    stacklevel=4,
                )
            factors = self._resolved(name, variables)
            restriction = self._carried(restriction, variables)
        self._decided = tuple(
            0.0 if is_overwritten else factor
            for factor, is_overwritten in zip(factors, overwritten, strict=True)
        )
        self._saved = tuple(map(_record, variables, factors))
        self._restriction = restriction
        self._update()

    def restrict(self, factors):
        """Multiplies what was decided by others, in place of earlier ones.

        Raises:
            ValueError: If the factors are not one per variable, finite and at
                least 0.
        """
        restriction = tuple(factors)
        if len(restriction) != len(self._decided):
            raise ValueError(
                "`factors` must be one per variable, of which there are "
                f"{len(self._decided)}. Received: {len(restriction)} factors"
            )
        for factor in restriction:
            arguments.check_non_negative("factors", factor)
        self._restriction = tuple(float(factor) for factor in restriction)
        self._update()

    def get_config(self):
        """Returns what a config holds beside the patterns."""
        config = {}
        has_rules = self.rules or self._excluded or self._excluded_records
        if self._saved and (has_rules or self._restriction):
            config[_SELECTED] = [r.as_config() for r in self._saved]
        if self._restriction:
            config[_RESTRICTION] = list(self._restriction)
        excluded = [_record(variable, 0.0) for variable in self._excluded]
        excluded += self._excluded_records
        if excluded:
            config[_EXCLUDED] = [record.as_config() for record in excluded]
        return config

    def restore(self, selected=(), restriction=(), excluded=()):
        """Takes what a config held; see `popped_config`."""
        self._is_restored = True
        self._saved = _records(selected)
        self._saved_restriction = tuple(restriction)
        self._excluded_records = _records(excluded)

    def _update(self):
        restriction = self._restriction or (1.0,) * len(self._decided)
        self.current = tuple(
            factor * other
            for factor, other in zip(self._decided, restriction, strict=True)
        )

    def _is_of(self, variables):
        shapes = tuple(map(selection.shape_of, variables))
        if shapes != tuple(record.shape for record in self._saved):
            return False
        if any(record.path is None for record in self._saved):
            return True
        return _same_names(
            [record.path for record in self._saved],
            [selection.path_of(variable) for variable in variables],
        )

    def _resolved(self, name, variables):
        factors, unmatched = selection.factors(variables, self.rules)
        self.unmatched = unmatched
        patterns = [rule for rule in unmatched if not rule.is_preset]
        if patterns and not self._is_restored:
            paths = ", ".join(map(selection.path_of, variables))
            raise ValueError(
                f"`{patterns[0].argument}` must match a variable with each "
                f"pattern. Received: {patterns[0].pattern!r}, which matches "
                f"none of: {paths}"
            )
        if unmatched:
            warnings.warn(
                f"{', '.join(rule.pattern for rule in unmatched)} in the "
                f"weight decay patterns of {name} matches no variable.",
                stacklevel=5,
            )
        excluded = self._excluded_ids(name, variables)
        return [
            0.0 if id(variable) in excluded else factor
            for variable, factor in zip(variables, factors, strict=True)
        ]

    def _excluded_ids(self, name, variables):
        """Returns the ids of those variables that were excluded as such."""
        known = {id(variable) for variable in variables}
        found = known & {id(variable) for variable in self._excluded}
        if self._excluded and not found:
            raise ValueError(
                "`var_list` must hold a variable that the optimizer trains. "
                "Received: "
                f"{', '.join(map(selection.path_of, self._excluded))}"
            )
        for record in self._excluded_records:
            same = [id(v) for v in variables if record.is_of(v)]
            if len(same) == 1:
                found |= set(same)
            else:
                warnings.warn(
                    f"{record.path}, excluded from the weight decay of {name},"
                    f" is the path of {len(same)} of its variables, none of "
                    "which is excluded.",
                    stacklevel=6,
                )
        return found

    def _carried(self, restriction, variables):
        """Returns a saved restriction for other variables, by their paths."""
        if not restriction:
            return ()
        return tuple(
            next(
                (
                    factor
                    for record, factor in zip(
                        self._saved, restriction, strict=False
                    )
                    if record.is_of(variable)
                ),
                1.0,
            )
            for variable in variables
        )


def popped_config(config):
    """Takes the arguments of `DecayFactors.restore` out of a config."""
    found = {
        "selected": config.pop(_SELECTED, ()),
        "restriction": config.pop(_RESTRICTION, ()),
        "excluded": config.pop(_EXCLUDED, ()),
    }
    return {name: value or () for name, value in found.items()}


def _record(variable, factor):
    return Record(
        selection.path_of(variable), selection.shape_of(variable), factor
    )


def _records(configs):
    return tuple(
        Record(each.get("path"), tuple(each["shape"]), float(each["factor"]))
        for each in configs
    )


def _aligned(old, new):
    """Returns the pairs of components of two paths, from their ends on.

    A loaded model lacks the name of what stood around it.
    """
    parts = (reversed(path.split("/")) for path in (old, new))
    return list(zip(*parts, strict=False))


def _same_names(old_paths, new_paths):
    """Returns whether paths differ by automatic names alone.

    Those are numbered in the order in which layers are made: `dense`,
    `dense_1`, ... may come back with other numbers, not in another order.
    """
    numbers = set()
    for old, new in zip(old_paths, new_paths, strict=True):
        for one, other in _aligned(old, new):
            (base, number), (other_base, other_number) = map(
                _numbered, (one, other)
            )
            if base != other_base:
                return False
            numbers.add((base, number, other_number))
    ordered = sorted(numbers)
    return all(
        base != next_base or (number < next_number and other < next_other)
        for (base, number, other), (next_base, next_number, next_other) in zip(
            ordered, ordered[1:], strict=False
        )
    )


def _numbered(name):
    """Returns a name without its number, and the number."""
    match = re.fullmatch(r"(.*?)_(\d+)", name)
    return (match[1], int(match[2])) if match else (name, 0)
