"""What weight decay does to each variable, as numbers."""

import math

from keras import ops

from tfwd.optimizers import selection
from tfwd.optimizers import weight_decay as decay


def rows(optimizer):
    """Returns a dict per variable; see `weight_decay_report` for the keys."""
    rate = decay_rate(optimizer)
    factors = zip(
        optimizer.model_variables(),
        optimizer.weight_decay_factors,
        optimizer.learning_rate_factors,
        strict=True,
    )
    found = []
    for variable, factor, rate_factor in factors:
        own = None if rate is None else min(rate * factor * rate_factor, 1.0)
        found.append(
            {
                "variable": selection.path_of(variable),
                "shape": selection.shape_of(variable),
                "weight_decay_factor": factor,
                "learning_rate_factor": rate_factor,
                "decay_rate": own,
                "averaging_time": averaging_time(own),
            }
        )
    return found


def decay_rate(optimizer):
    """Returns ηₜsₜλₜ of the last step, or λₜ in mode `"independent"`.

    It is the fraction that the decay took of a variable whose factors are one,
    where it is below one.

    Returns:
        A float; None before the first step and in the modes `"l2"`, whose
        decay passes through the optimizer's statistics, and `"elementwise"`,
        which has as many rates as elements.
    """
    mode = optimizer.weight_decay_mode
    if mode in ("l2", "elementwise") or not number(optimizer.iterations):
        return None
    return decay.decay_rate(
        mode,
        number(optimizer.last_learning_rate()),
        number(optimizer.effective_weight_decay),
    )


def averaging_time(rate):
    """Returns the steps after which 1/e is left: 1/rate, None for None."""
    if rate is None:
        return None
    return 1 / rate if rate else math.inf


def number(value):
    """Returns a scalar variable or tensor as a float."""
    return float(ops.convert_to_numpy(value))
