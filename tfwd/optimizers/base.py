"""The base class: a first-order optimizer with exact weight decay."""

import math

import keras
from keras import ops

from tfwd.optimizers import decaying
from tfwd.optimizers import nonfinite_steps
from tfwd.optimizers import weight_decay as decay
from tfwd.optimizers.backend import xla


class Optimizer(nonfinite_steps.GuardedOptimizer):
    """An optimizer whose weight decay is chosen, exact and inspectable.

    One step, in this order, the same on one device and on many:

    ```
    g   gradient: loss scale undone, summed over replicas, clipped
    g ← g + λₜθ                                  in mode "l2"
    g ← curvature⁻¹ g                            precondition
    statistics of all variables                  accumulate
    s ← scale from the statistics                stable_scale
    momentum of all variables                    advance
    θ ← θ − step − (decay rate)·θ                step, in the other modes
    ```

    The decay uses θ before the step. A variable without a gradient in a step
    is neither moved nor decayed nor counted in a mean, though t advances for
    all.

    With `learning_rate_multipliers` the step of variable i is that of the rule
    with ηᵢ = fᵢη in place of η, also inside bounds and buffers, and its decay
    that of the mode times fᵢ: ηᵢsₜλₜ, in mode `"independent"` fᵢλₜ (as in
    Loshchilov & Hutter 2019, Algorithm 2, whose multiplier of the step is that
    of the decay), and in mode `"l2"` no more than the step has already. Every
    step here is linear in η, so this multiplies the step by fᵢ. Clipping and
    means over all variables, such as v̄, know nothing of it. With fᵢ = 0 the
    variable rests, while its statistics go on.

    A step whose gradient is not finite everywhere, on whichever replica, is
    skipped: no variable, statistic, average or `effective_weight_decay`
    changes. `skipped_steps` counts it, and so does t. So is one whose squares
    sum to no finite number (in float32, a norm above 1.8e19), where the
    optimizer or the clipping squares gradients, and one whose ηₜ or λₜ is
    negative or not finite, whatever a schedule returned. The gradient is
    looked at before it is clipped, and in mode "l2" with λθ added. Of an
    accumulated gradient it is the mean that is looked at, so that one bad
    batch spoils the step it is part of and no other. Keras' own
    `LossScaleOptimizer` looks before it hands gradients over, on several
    replicas at the first one's alone: what it skips is not counted here, and
    what is skipped here does not lower its scale. What the model's forward
    pass wrote before, such as the moving averages of batch normalization, no
    optimizer sees: `tfwd.SkippedSteps` restores it in `fit`.

    The decay rate is bounded by one: a weight is taken to zero at most, not
    past it. `first_overshoot_step` is the first step where it would have been.

    An algorithm fills in `step` and, where it needs them, `build`,
    `precondition`, `accumulate`, `second_moment`, `coefficients`, `advance`
    and `stable_scale`. What `step` uses it reads from the variables that the
    others have written; see `tfwd.optimizers.backend.conditional`.

    Args:
        learning_rate: η, a float >= 0, a Keras `LearningRateSchedule`, or a
            callable without arguments.
        weight_decay: λ >= 0, a float or a Keras `LearningRateSchedule`. Set
            `optimizer.weight_decay` to change a float between steps, also
            when the step is compiled.
        weight_decay_mode: One of the class's `weight_decay_modes`, of which
            the first is the default. See `tfwd.optimizers.weight_decay`.
        weight_decay_schedule: A Keras `LearningRateSchedule` whose value
            multiplies λ, independent of the learning rate's; not together
            with a `weight_decay` that is a schedule.
        learning_rate_multipliers: A dict from pattern to factor; the factors
            of all patterns that match a variable's path multiply its η.
            `tfwd.layerwise` makes one of layer-wise rate decay.
        weight_decay_multipliers: A dict from pattern to factor; the factors
            of all patterns that match a variable's path multiply its λ.
        exclude_from_weight_decay: Patterns of the variables that do not decay:
            regular expressions on the path, or the presets `"@bias"`,
            `"@norm"`, `"@embedding"`, `"@standard"`. See
            `tfwd.optimizers.presets`.
        skip_nonfinite: Whether to look at the gradient and skip a step as
            above. False saves the look, a pass over the gradient; what is not
            finite then stays in the weights, as with Keras' optimizers.
        **keras_arguments: `name`, `clipnorm`, `clipvalue`, `global_clipnorm`,
            `use_ema`, `ema_momentum`, `ema_overwrite_frequency`,
            `loss_scale_factor`, `gradient_accumulation_steps`, as in
            `keras.optimizers.Optimizer`.

    Raises:
        ValueError: If an argument breaks its rule; at the first `build`, if a
            regular expression matches no variable.
    """

    def precondition(self, indices, gradients, learning_rate):
        """Returns the gradients of all variables as the statistics see them."""
        return gradients

    def accumulate(self, index, gradient):
        """Updates the statistics of one variable, before any variable moves."""

    def accumulations(self):
        """Returns what updates statistics: of all variables, one by one."""
        return (self.accumulate,)

    def needs_second_moment(self):
        """Returns whether a step needs the mean of `second_moment`."""
        return False

    def second_moment(self, index):
        """Returns the second moment of one variable, not debiased."""
        raise NotImplementedError

    def coefficients(self, learning_rate, mean):
        """Returns the scalars of a step that all variables share.

        Args:
            learning_rate: ηₜ.
            mean: The mean of `second_moment` over all elements of all
                variables that have a gradient in this step, or None where
                `needs_second_moment()` is false.
        """
        return (learning_rate,)

    def advance(self, index, gradient, *coefficients):
        """Updates what the step of one variable is made of, if anything."""

    def step(self, index, gradient, *coefficients):
        """Returns what is subtracted from one variable beside the decay."""
        raise NotImplementedError

    def stable_scale(self, mean):
        """Returns s of mode `"stable"`; ηₜs is the effective learning rate."""
        raise NotImplementedError

    def elementwise_scale(self, index):
        """Returns s of mode `"elementwise"`, of the variable's shape."""
        raise NotImplementedError

    def effective_coefficient(self, coefficient, mean):
        """Returns sₜλₜ, given λₜ; s is 1 in every mode but `"stable"`."""
        if self.weight_decay_mode != "stable":
            return coefficient
        return coefficient * self.stable_scale(mean)

    def step_number(self):
        """Returns t, counted from one, as a float scalar."""
        return ops.cast(self.iterations + 1, decaying.scalar_dtype())

    def update(self, indices, variables, gradients, learning_rate):
        """Moves the variables; see the class for the order."""
        dtypes = [keras.backend.standardize_dtype(v.dtype) for v in variables]
        learning_rate = ops.cast(learning_rate, decaying.scalar_dtype())
        coefficient = self.scheduled_weight_decay()
        raw = gradients
        gradients = [
            ops.cast(gradient, dtype)
            for gradient, dtype in zip(
                self.clipped(gradients), dtypes, strict=True
            )
        ]
        if self.weight_decay_mode == "l2":
            rows = list(zip(indices, variables, gradients, strict=True))
            # With λ = 0 all modes are the same, bit for bit.
            gradients = xla.apart(
                coefficient >= 0,
                lambda: [self._penalized(*row, coefficient) for row in rows],
                gradients,
            )
        if_finite = self.guard(raw, gradients)
        gradients = self.precondition(indices, gradients, learning_rate)
        for accumulate in self.accumulations():
            if_finite(
                lambda accumulate=accumulate: [
                    accumulate(index, gradient)
                    for index, gradient in zip(indices, gradients, strict=True)
                ]
            )
        mean = None
        if self.needs_second_moment():
            mean = decay.global_mean([self.second_moment(i) for i in indices])
            mean = ops.cast(mean, decaying.scalar_dtype())
        effective = self.effective_coefficient(coefficient, mean)
        rates = self._decay_rates(indices, learning_rate, effective)
        highest = _highest(rates)
        shared = self._shared_coefficients(indices, learning_rate, mean)
        factors = [self.learning_rate_factors[index] for index in indices]
        scalars = [
            [ops.cast(scalar, dtype) for scalar in shared[factor]]
            for factor, dtype in zip(factors, dtypes, strict=True)
        ]

        def advance():
            for row in zip(indices, gradients, scalars, strict=True):
                index, gradient, coefficients = row
                self.advance(index, gradient, *coefficients)

        def move():
            for index, variable, gradient, coefficients, factor, rate in zip(
                *(indices, variables, gradients, scalars, factors, rates),
                strict=True,
            ):
                if factor == 0:  # Frozen; what a step is made of went on.
                    continue
                step = self.step(index, gradient, *coefficients)
                if rate is not None:
                    # Added to the step, not folded into a factor 1 − ηsλ of
                    # θ, which float32 rounds to a relative 6e-8: a small decay
                    # would lose its digits, always to the same side.
                    # No `ops.minimum`, which on torch returns a float32.
                    fraction = ops.where(rate > 1, ops.ones_like(rate), rate)
                    step = step + ops.cast(fraction, step.dtype) * variable
                self.assign_sub(variable, step)
            self.assign(self.effective_weight_decay, effective)
            self._record_overshoot(highest)

        if type(self).advance is not Optimizer.advance:
            if_finite(advance)
        if_finite(move)

    def _penalized(self, index, variable, gradient, coefficient):
        factor = self.weight_decay_factors[index]
        if factor == 0:
            return gradient
        coefficient = ops.cast(coefficient * factor, gradient.dtype)
        return decay.penalized_gradient(gradient, variable, coefficient)

    def _shared_coefficients(self, indices, learning_rate, mean):
        """Returns {factor of η: the scalars of the variables that have it}."""
        return {
            factor: self.coefficients(
                learning_rate if factor == 1 else learning_rate * factor, mean
            )
            for factor in dict.fromkeys(
                self.learning_rate_factors[i] for i in indices
            )
        }

    def _decay_rates(self, indices, learning_rate, effective):
        """Returns for each variable the fraction of θ that decays, or None."""
        rate = decay.decay_rate(
            self.weight_decay_mode, learning_rate, effective
        )
        rates = []
        for index in indices:
            factor = self.weight_decay_factors[index]
            factor = factor * self.learning_rate_factors[index]
            fraction = rate * factor if factor else None
            if factor and self.weight_decay_mode == "elementwise":
                scale = self.elementwise_scale(index)
                fraction = ops.cast(fraction, scale.dtype) * scale
            rates.append(fraction)
        return rates

    def _record_overshoot(self, rate):
        if rate is None:
            return
        first = ops.convert_to_tensor(self.first_overshoot_step)
        now = ops.cast(self.iterations + 1, first.dtype)
        is_first = ops.logical_and(ops.equal(first, 0), rate >= 1)
        self.assign(self.first_overshoot_step, ops.where(is_first, now, first))


def _highest(rates):
    """Returns the highest of all elements of the rates, None if none are."""
    rates = [r for r in rates if r is not None and math.prod(r.shape)]
    if not rates:
        return None
    return ops.max(ops.stack([ops.max(rate) for rate in rates]))
