"""Which variables of a model decay and move, and by which factors."""

import collections.abc
import typing

from tfwd import types
from tfwd.optimizers import decay_report
from tfwd.optimizers import decaying
from tfwd.optimizers import factors as factors_lib
from tfwd.optimizers import selection
from tfwd.optimizers import summary
from tfwd.optimizers import variable_types


class SelectiveOptimizer(decaying.DecayingOptimizer):
    """An optimizer with factors of λ and η for each variable.

    Keeps them by position, so that they survive the renaming of variables when
    a model is loaded. `tfwd.optimizers.base.Optimizer` documents the arguments.
    """

    def __init__(
        self,
        learning_rate: types.Schedule,
        weight_decay: types.Schedule = 0.0,
        *,
        learning_rate_multipliers: dict[str, float] | None = None,
        weight_decay_multipliers: dict[str, float] | None = None,
        exclude_from_weight_decay: collections.abc.Sequence[str] = (),
        **base_arguments: typing.Any,
    ):
        factors = factors_lib.VariableFactors(
            selection.exclusions(
                "exclude_from_weight_decay", exclude_from_weight_decay
            ),
            selection.multipliers(
                "weight_decay_multipliers", weight_decay_multipliers
            ),
            selection.multipliers(
                "learning_rate_multipliers", learning_rate_multipliers
            ),
        )
        super().__init__(learning_rate, weight_decay, **base_arguments)
        self._factors = factors

    @property
    def weight_decay_factors(self):
        """The factor of λ of each variable, in order; None before `build`."""
        return self._factors.current

    @property
    def learning_rate_factors(self):
        """The factor of η of each variable, in order; None before `build`."""
        return self._factors.of_learning_rate

    @property
    def unmatched_patterns(self):
        """The patterns that match no variable."""
        return tuple(rule.pattern for rule in self._factors.unmatched)

    def weight_decay_summary(self, print_fn=print):
        """Prints which variables decay, with what factor, and how.

        Raises:
            ValueError: If the optimizer is not built.
        """
        self._check_built("weight_decay_summary")
        print_fn(summary.text(self))

    def weight_decay_report(self):
        """Returns which variables decay, with what factor, and how fast.

        Returns:
            A list with a dict for each variable, in order:
            `variable`, its path; `shape`, a tuple of ints;
            `weight_decay_factor` and `learning_rate_factor`, floats;
            `decay_rate`, the fraction of the variable that the last step's
            decay took, a float in [0, 1]: ηₜsₜλₜ times both factors (λₜ times
            both in mode `"independent"`); `averaging_time`, one over it, in
            steps: after so many, 1/e of the variable is left if nothing else
            moves it (`inf` where nothing decays). Both are None before the
            first step and in the modes `"l2"` and `"elementwise"`, which have
            no such number.

        Raises:
            ValueError: If the optimizer is not built.
        """
        self._check_built("weight_decay_report")
        return decay_report.rows(self)

    def exclude_from_weight_decay(self, var_list=None, var_names=None):
        """Excludes variables before `build`, as in Keras.

        Args:
            var_list: Variables; these very ones are excluded, whatever others
                have their paths. Those that the optimizer does not train are
                passed over.
            var_names: Patterns as the argument `exclude_from_weight_decay` of
                the constructor takes them; but one that matches nothing is a
                warning, since a model may well have no biases.

        Raises:
            ValueError: If the optimizer is built, or a pattern is invalid; at
                the `build` of a new optimizer, if it trains none of `var_list`.
        """
        if self.built:
            raise ValueError(
                "`exclude_from_weight_decay()` must be called before "
                f"`build`. Received: built={self.built}"
            )
        rules = selection.exclusions(
            selection.KERAS_ARGUMENT, () if var_names is None else var_names
        )
        self._factors.exclude(var_list or (), rules)

    def restrict_weight_decay(self, factors):
        """Multiplies the factors that `build` decided on by others.

        A later call replaces an earlier one: the factors are always those of
        `build` times the ones given last, so ones lift a restriction. It is
        part of the config and of a saved model.

        The factors are constants of a compiled step. One that is compiled
        already must be traced anew: that of `fit` by
        `model.make_train_function(force=True)`, as the callback
        `tfwd.callbacks.DecayScopeSwitch` does.

        Args:
            factors: A number of at least 0 for each variable of `build`, in
                the same order.

        Raises:
            ValueError: If the optimizer is not built, or the factors are not
                one per variable, finite and at least 0.
        """
        if not self.built:
            raise ValueError(
                "`restrict_weight_decay()` must be called after `build`. "
                f"Received: built={self.built}"
            )
        self._factors.restrict(factors)

    def build(self, variables):
        """Decides the factors of the variables, once.

        Raises:
            ValueError: If a pattern, or an excluded variable, matches none of
                the variables. Of an optimizer out of a config it is a warning:
                a model may have been frozen since.
        """
        variable_types.check_real_floating(variables)
        self._factors.decide(
            self.name, variables, map(self.is_overwritten, variables)
        )
        super().build(variables)

    def get_config(self):
        """Returns the arguments, what the rules selected, the restriction."""
        config = super().get_config()
        config.update(
            learning_rate_multipliers=_as_dict(
                self._factors.learning_rate_multipliers
            ),
            weight_decay_multipliers=_as_dict(self._factors.multipliers),
            exclude_from_weight_decay=[
                rule.pattern for rule in self._factors.exclusions
            ],
            **self._factors.get_config(),
        )
        return config

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Makes an optimizer, with what its rules selected if that is known."""
        config = dict(config)
        decided = factors_lib.popped_config(config)
        optimizer = super().from_config(config, custom_objects)
        optimizer._factors.restore(**decided)
        return optimizer

    def _check_built(self, method):
        if not self.built:
            raise ValueError(
                f"`{method}()` needs the variables; call "
                "`build(model.trainable_variables)` first. Received: "
                f"built={self.built}"
            )


def _as_dict(rules):
    return {rule.pattern: rule.factor for rule in rules}
