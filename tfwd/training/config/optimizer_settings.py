"""The settings of the optimizer, of its weight decay and its gradients."""

import dataclasses

from tfwd.training.config import choices
from tfwd.training.config import fields
from tfwd.training.config import rules


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """The optimizer, what decays, and what is done to gradients."""

    label_smoothing: float = fields.setting(
        0.0,
        "label smoothing of the loss that is minimized; losses are reported "
        "without it",
        at_least=0,
        below=1,
        group="Training",
    )
    optimizer: str = fields.setting(
        "adams", "optimizer", choices=choices.OPTIMIZERS, group="Optimizer"
    )
    learning_rate: float | None = fields.setting(
        None, "learning rate; default: the optimizer's", at_least=0
    )
    weight_decay: float | None = fields.setting(
        None,
        "weight decay coefficient lambda; default: that of the folder that is "
        "gone on with, or 5e-4 for modes l2, stable and elementwise, for "
        "decoupled and independent what decays as much (adamw: 0.5)",
        at_least=0,
        group="Weight decay",
    )
    weight_decay_mode: str | None = fields.setting(
        None,
        "l2, decoupled, stable, independent or elementwise; default: "
        "the optimizer's",
    )
    exclude_from_weight_decay: tuple[str, ...] = fields.setting(
        (),
        "regular expression of variable paths, or @bias, @norm, "
        "@embedding, @standard; may be repeated",
    )
    weight_decay_multiplier: tuple[str, ...] = fields.setting(
        (),
        "'<path regular expression>=<factor>' scales lambda; may be repeated",
    )
    decay_scope: str = fields.setting(
        "all",
        "which layers decay: all, those whose scale a normalization undoes, "
        "the final ones, or none; what is excluded above stays excluded",
        choices=choices.DECAY_SCOPES,
    )
    decay_scope_from_epoch: int = fields.setting(
        0,
        "the scope is kept to after so many epochs, until then all layers "
        "decay",
        at_least=0,
    )
    momentum: float | None = fields.setting(
        None,
        "momentum of sgd, sgdw, sgds, kfac",
        at_least=0,
        below=1,
        group="Arguments of the optimizers",
    )
    dampening: float | None = fields.setting(
        None, "dampening of sgd, sgdw, sgds", at_least=0, at_most=1
    )
    nesterov: bool | None = fields.setting(None, "Nesterov's momentum")
    folded_learning_rate: bool | None = fields.setting(
        None, "learning rate inside the momentum buffer (Keras' form)"
    )
    beta_0: float | None = fields.setting(None, "beta_0 of adai", at_least=0)
    beta_1: float | None = fields.setting(
        None, "decay rate of the first moment", at_least=0, below=1
    )
    beta_2: float | None = fields.setting(
        None, "decay rate of the second moment", at_least=0, below=1
    )
    epsilon: float | None = fields.setting(None, "epsilon", at_least=0)
    adaptivity: float | None = fields.setting(
        None, "power p of mean(v) in the stable decay", at_least=0
    )
    second_moment_offset: float | None = fields.setting(
        None, "added to mean(v) in the stable decay", at_least=0
    )
    final_learning_rate: float | None = fields.setting(
        None, "final learning rate of adabound", at_least=0
    )
    gamma: float | None = fields.setting(
        None, "speed of adabound's bounds", at_least=0
    )
    initial_learning_rate: float | None = fields.setting(
        None,
        "learning rate against which adabound measures its schedule",
        above=0,
    )
    partial: float | None = fields.setting(None, "power of padam", at_least=0)
    initial_accumulator_value: float | None = fields.setting(
        None, "second moment of yogi before the first step", at_least=0
    )
    clipnorm: float | None = fields.setting(
        None,
        "bound of each gradient's 2-norm",
        above=0,
        group="Gradients and averages",
    )
    clipvalue: float | None = fields.setting(
        None, "bound of each gradient's elements", above=0
    )
    global_clipnorm: float | None = fields.setting(
        None, "bound of the 2-norm of all gradients together", above=0
    )
    use_ema: bool = fields.setting(
        False, "the final model holds the moving average of the weights"
    )
    ema_momentum: float | None = fields.setting(
        None, "momentum of that average", at_least=0, at_most=1
    )
    ema_overwrite_frequency: int | None = fields.setting(
        None, "steps between overwriting weights by averages", at_least=1
    )
    accumulation_steps: int | None = fields.setting(
        None,
        "steps whose examples make one update together; the last update of an "
        "epoch may have fewer",
        at_least=2,
    )
    loss_scale_factor: float | None = fields.setting(
        None,
        "the loss is scaled by it, the gradients unscaled; default: "
        "found while training under mixed_float16, else 1",
        above=0,
    )

    def multipliers(self):
        """`--weight_decay_multiplier` as {path regular expression: factor}."""
        return dict(map(rules.multiplier, self.weight_decay_multiplier))
