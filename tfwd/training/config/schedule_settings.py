"""How long a run trains, and the courses of its rates."""

import dataclasses

from tfwd.training.config import fields

_SCHEDULES = ("constant", "step", "cosine", "cosine_restarts")


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Epochs, schedules and the rule that scales them."""

    epochs: int = fields.setting(
        30, "passes over the training data", at_least=1, group="Training"
    )
    schedule: str = fields.setting(
        "constant",
        "learning rate schedule",
        choices=_SCHEDULES,
        group="Schedules",
    )
    weight_decay_schedule: str = fields.setting(
        "constant",
        "schedule of a factor of lambda, starting at 1",
        choices=_SCHEDULES,
    )
    decay_epochs: tuple[int, ...] = fields.setting(
        (80, 160), "epochs after which step schedules drop, e.g. 80,160"
    )
    decay_factor: float = fields.setting(
        0.1, "factor of each drop", above=0, at_most=1
    )
    restart_epochs: float = fields.setting(
        14.0,
        "epochs of the first period of cosine_restarts",
        above=0,
        at_most=1e6,
    )
    restart_multiplier: float = fields.setting(
        2.0,
        "each period is so many times the one before",
        at_least=1,
        at_most=1e6,
    )
    final_fraction: float = fields.setting(
        0.0, "where cosine ends, relative to its start", at_least=0, at_most=1
    )
    warmup_epochs: float = fields.setting(
        0.0, "epochs of linear warm-up of the learning rate", at_least=0
    )
    scaling_rule: str = fields.setting(
        "none",
        "scale by k = batch_size * accumulation_steps / base_batch_size: the "
        "learning rate by k "
        "(lr) or its root (sqrt_lr), or the weight decay by k",
        choices=("none", "lr", "sqrt_lr", "weight_decay"),
    )
    base_batch_size: int = fields.setting(
        128, "batch size of the unscaled values", at_least=1
    )
