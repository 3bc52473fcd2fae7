"""The factors of λ and η of each variable: decided once, kept by position."""

import warnings

from tfwd import arguments
from tfwd.optimizers import saved_variables
from tfwd.optimizers import selection

_SELECTED = "weight_decay_selection"
_RESTRICTION = "weight_decay_restriction"
_EXCLUDED = "weight_decay_excluded"


class VariableFactors:
    """Decides the factors at the first build, and saves them by position.

    For other variables than those of the first build (see
    `tfwd.optimizers.saved_variables`) the patterns are resolved anew.

    Args:
        exclusions: What `selection.exclusions` returned.
        multipliers: What `selection.multipliers` returned for λ.
        learning_rate_multipliers: What it returned for η.

    Attributes:
        exclusions: Rules whose factor of λ is zero.
        multipliers: Other rules of λ.
        learning_rate_multipliers: Rules of η.
        current: The factors of λ in the order of the variables, None before
            `decide`.
        of_learning_rate: Those of η.
        unmatched: The rules that match no variable: presets and, of an
            optimizer out of a config, any.
    """

    def __init__(self, exclusions, multipliers, learning_rate_multipliers=()):
        self.exclusions = exclusions
        self.multipliers = multipliers
        self.learning_rate_multipliers = learning_rate_multipliers
        self.current = None
        self.of_learning_rate = None
        self.unmatched = ()
        # Variables by identity, or records of them out of a config.
        self._excluded = []
        self._excluded_records = ()
        self._is_restored = False
        self._saved, self._saved_restriction = (), ()
        self._decided, self._restriction = (), ()

    @property
    def rules(self):
        """All rules of λ."""
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
            ValueError: If a regular expression of the constructor, or an
                excluded variable, matches none of the variables, the optimizer
                being new.
        """
        restriction = self._saved_restriction
        if self._saved and saved_variables.are_of(self._saved, variables):
            factors = [record.factor for record in self._saved]
            rates = [record.learning_rate_factor for record in self._saved]
        else:
            if self._saved:
                warnings.warn(
                    f"The factors of {name} were decided for "
                    f"{len(self._saved)} variables of other names or shapes "
                    f"than these {len(variables)}; its patterns are resolved "
                    "anew.",
                    stacklevel=4,
                )
            factors, rates = self._resolved(name, variables)
            restriction = self._carried(restriction, variables)
        self._decided = tuple(
            0.0 if is_overwritten else factor
            for factor, is_overwritten in zip(factors, overwritten, strict=True)
        )
        self._saved = tuple(map(saved_variables.of, variables, factors, rates))
        self.of_learning_rate = tuple(rates)
        self._restriction = restriction
        self._update()

    def restrict(self, factors):
        """Multiplies what was decided of λ by others, in place of earlier ones.

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
        has_rules = (
            self.rules
            or self.learning_rate_multipliers
            or self._excluded
            or self._excluded_records
        )
        if self._saved and (has_rules or self._restriction):
            config[_SELECTED] = [r.as_config() for r in self._saved]
        if self._restriction:
            config[_RESTRICTION] = list(self._restriction)
        excluded = [
            saved_variables.of(variable, 0.0) for variable in self._excluded
        ]
        excluded += self._excluded_records
        if excluded:
            config[_EXCLUDED] = [record.as_config() for record in excluded]
        return config

    def restore(self, selected=(), restriction=(), excluded=()):
        """Takes what a config held; see `popped_config`."""
        self._is_restored = True
        self._saved = saved_variables.from_configs(selected)
        self._saved_restriction = tuple(restriction)
        self._excluded_records = saved_variables.from_configs(excluded)

    def _update(self):
        restriction = self._restriction or (1.0,) * len(self._decided)
        self.current = tuple(
            factor * other
            for factor, other in zip(self._decided, restriction, strict=True)
        )

    def _resolved(self, name, variables):
        """Returns the factors of λ and those of η, by the patterns."""
        factors, unmatched = selection.factors(variables, self.rules)
        rates, others = selection.factors(
            variables, self.learning_rate_multipliers
        )
        self.unmatched = unmatched + others
        mistakes = [rule for rule in self.unmatched if rule.must_match]
        if mistakes and not self._is_restored:
            paths = ", ".join(map(selection.path_of, variables))
            raise ValueError(
                f"`{mistakes[0].argument}` must match a variable with each "
                f"pattern. Received: {mistakes[0].pattern!r}, which matches "
                f"none of: {paths}"
            )
        for kind, rules in (
            ("weight decay", unmatched),
            ("learning rate", others),
        ):
            if rules:
                warnings.warn(
                    f"{', '.join(rule.pattern for rule in rules)} in the "
                    f"{kind} patterns of {name} matches no variable.",
                    stacklevel=5,
                )
        excluded = self._excluded_ids(name, variables)
        factors = [
            0.0 if id(variable) in excluded else factor
            for variable, factor in zip(variables, factors, strict=True)
        ]
        return factors, rates

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
    """Takes the arguments of `VariableFactors.restore` out of a config."""
    found = {
        "selected": config.pop(_SELECTED, ()),
        "restriction": config.pop(_RESTRICTION, ()),
        "excluded": config.pop(_EXCLUDED, ()),
    }
    return {name: value or () for name, value in found.items()}
