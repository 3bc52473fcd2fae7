"""An optimizer whose class, η and λ are hyperparameters of KerasTuner."""

import collections.abc
import typing

import keras

from tfwd import arguments
from tfwd.training.setup import optimization as optimizer_lib
from tfwd.tuning import coordinates
from tfwd.tuning import ranges

OPTIMIZERS = optimizer_lib.OPTIMIZERS

# Of λ, of ηλ, and in epochs.
DEFAULT_RANGES = {
    "weight_decay": (1e-5, 1e-2),
    "rate": (1e-8, 1e-4),
    "timescale": (1.0, 100.0),
}


def optimizer(
    hp: typing.Any,
    optimizers: collections.abc.Sequence[str] = ("adamw", "adams"),
    learning_rate: tuple[float, float] = (1e-4, 1e-1),
    weight_decay: tuple[float, float] | None = None,
    *,
    coordinate: typing.Literal[
        "weight_decay", "rate", "timescale"
    ] = "weight_decay",
    steps_per_epoch: int | None = None,
    damping: tuple[float, float] = (1e-4, 1e-1),
    **fixed: typing.Any,
) -> keras.optimizers.Optimizer:
    """Returns an optimizer that hyperparameters choose.

    | hyperparameter      | active for | what it is                           |
    |---------------------|------------|--------------------------------------|
    | `optimizer`         | all        | one of `optimizers`                  |
    | `learning_rate`     | all        | η, log-uniform                       |
    | `NAME/weight_decay` | NAME       | λ, log-uniform; or `NAME/rate`, ηλ,  |
    |                     |            | or `NAME/timescale`, 1/(ηsλN) epochs |
    | `kfac/damping`      | kfac       | its damping, log-uniform             |

    The range of λ, and of ηλ, is that of an optimizer whose own scale s is part
    of its decay, as of AdamS and Adam. For the others it is `decay_factor`
    times as high, 1000 times for AdamW, so that both search the same decays;
    what is recorded is the λ of the optimizer itself. A time scale has the same
    range for all.

    Where ηsλ reaches one, as in the corner of AdamW's default ranges, the decay
    takes weights to zero and `optimizer.first_overshoot_step` says so.

    Args:
        hp: The `keras_tuner.HyperParameters` of `build(hp)`.
        optimizers: Keys of `tfwd.optimizers.OPTIMIZERS`, or "kfac", which still
            has to be attached to the model.
        learning_rate: A pair (low, high), or a number that is held.
        weight_decay: The same for the coordinate of λ: in its unit, by default
            (1e-5, 1e-2) of λ, (1e-8, 1e-4) of ηλ or (1, 100) epochs. A
            held λ or ηλ may be 0; it is multiplied as ranges are.
        coordinate: "weight_decay", "rate" or "timescale"; see
            `tfwd.tuning.coordinates`. "timescale" is refused for those
            optimizers and modes whose s is not known before the training, such
            as AdamS, and for the modes l2 and elementwise.
        steps_per_epoch: N, needed by "timescale" and used by it alone.
        damping: As `learning_rate`, of K-FAC alone.
        **fixed: Further arguments. One that belongs to some optimizers, such as
            `momentum`, goes to those alone.

    Example:
    >>> optimizer = tfwd.tuning.optimizer(hp, coordinate="rate")
    >>> model.compile(optimizer=optimizer, loss="mse")

    Raises:
        ValueError: If an argument breaks its rule, whichever optimizer is
            chosen; one line.

    References:
        Xie et al. 2022 (https://arxiv.org/abs/2011.11152), Figure 7: λ of AdamW
        on an axis of a thousand times that of AdamS; Figure 8: maps of η and λ.
    """
    names = _names(optimizers)
    arguments.check_choice("coordinate", coordinate, coordinates.COORDINATES)
    rates = ranges.read("learning_rate", learning_rate)
    dampings = ranges.read("damping", damping)
    if weight_decay is None:
        weight_decay = DEFAULT_RANGES[coordinate]
    has_zero = coordinate != "timescale"
    decays = ranges.read("weight_decay", weight_decay, zero=has_zero)
    modes = {name: _mode(name, fixed) for name in names}
    _check_fixed(names, fixed)
    if coordinate == "timescale":
        arguments.check_integer("steps_per_epoch", steps_per_epoch, 1)
        _check_timescale(modes)

    chosen = hp.Choice("optimizer", names)
    rate = rates.choose(hp, "learning_rate")
    for name in names:
        cls = OPTIMIZERS[name]
        factor = optimizer_lib.decay_factor(cls, modes[name])
        # KerasTuner learns of the hyperparameters of the others, too.
        with hp.conditional_scope("optimizer", [name]):
            decay = (decays * factor if has_zero else decays).choose(
                hp, f"{name}/{coordinate}"
            )
            own = {}
            if name == "kfac":
                own["damping"] = dampings.choose(hp, "kfac/damping")
        if name == chosen:
            made = cls(learning_rate=rate, **own, **_of(cls, fixed))
            made.weight_decay = _weight_decay(
                coordinate, decay, made, rate, steps_per_epoch
            )
    return made


def _weight_decay(coordinate, value, made, rate, steps_per_epoch):
    """Returns the λ that a coordinate's value means."""
    if coordinate == "weight_decay":
        return value
    if coordinate == "rate":
        return coordinates.from_rate(value, rate)
    unit_rate = coordinates.rate_of_unit_decay(made, rate)
    return coordinates.from_timescale(value, unit_rate, steps_per_epoch)


def _names(optimizers):
    is_list = isinstance(optimizers, (list, tuple))
    if not is_list or not optimizers:
        raise ValueError(
            "`optimizers` must be a list of at least one name. "
            f"Received: optimizers={arguments.shown(optimizers)}"
        )
    for name in optimizers:
        arguments.check_choice("optimizers", name, OPTIMIZERS)
    if len(set(optimizers)) < len(optimizers):
        raise ValueError(
            "`optimizers` must name each optimizer once. "
            f"Received: optimizers={arguments.shown(optimizers)}"
        )
    return list(optimizers)


def _mode(name, fixed):
    """Returns the mode of weight decay that an optimizer will have."""
    modes = OPTIMIZERS[name].weight_decay_modes
    mode = fixed.get("weight_decay_mode")
    if mode is None:
        return modes[0]
    if mode not in modes:
        raise ValueError(
            f"`weight_decay_mode` must be one of {', '.join(modes)} for {name}."
            f" Received: weight_decay_mode={arguments.shown(mode)}"
        )
    return mode


def _check_timescale(modes):
    for name, mode in modes.items():
        if not coordinates.has_timescale(OPTIMIZERS[name], mode):
            raise ValueError(
                '`coordinate` must be "weight_decay" or "rate" for an '
                "optimizer whose decay has no time scale known before the "
                f"training, such as {name} in mode {mode}. "
                "Received: coordinate=timescale"
            )


def _check_fixed(names, fixed):
    taken = {
        each for name in names for each in OPTIMIZERS[name].hyperparameters
    }
    for argument, value in fixed.items():
        if argument in _some_take() and argument not in taken:
            raise ValueError(
                f"`{argument}` must be an argument of one of the optimizers "
                f"{', '.join(names)}. "
                f"Received: {argument}={arguments.shown(value)}"
            )


def _of(cls, fixed):
    """Returns those arguments that are for an optimizer."""
    others = _some_take() - set(cls.hyperparameters)
    return {name: fixed[name] for name in fixed if name not in others}


def _some_take():
    """Returns the arguments that some optimizers have and others have not."""
    return {name for cls in OPTIMIZERS.values() for name in cls.hyperparameters}
