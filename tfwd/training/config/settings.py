"""The settings of a run: frozen dataclasses, validated once, together."""

import dataclasses

from tfwd.training.config import data_settings
from tfwd.training.config import distribution_settings
from tfwd.training.config import effects
from tfwd.training.config import fields
from tfwd.training.config import kfac_settings
from tfwd.training.config import model_settings
from tfwd.training.config import optimizer_settings
from tfwd.training.config import rules
from tfwd.training.config import run_settings
from tfwd.training.config import schedule_settings


@dataclasses.dataclass(frozen=True)
class Settings(
    run_settings.Run,
    distribution_settings.Distribution,
    kfac_settings.KFAC,
    optimizer_settings.Optimizer,
    model_settings.Model,
    data_settings.Data,
    schedule_settings.Schedule,
):
    """Everything that decides a run; each field is a flag of the same name.

    `None` means: not given, the default of whoever uses the value.

    Raises:
        ValueError: A value breaks a rule; the message names the flag.
    """

    HEADINGS = (
        *("Run", "Data", "Model", "Training", "Devices", "Optimizer"),
        *("Weight decay", "Arguments of the optimizers", "K-FAC"),
        *("Gradients and averages", "Schedules", "Diagnostics"),
        "Norm transfer",
    )

    def __post_init__(self):
        for field in fields.of(self):
            value = getattr(self, field.name)
            if rules.kind_of(field) is float and type(value) is int:
                object.__setattr__(self, field.name, float(value))
        rules.check(self)
        effects.check(self)

    def replace(self, **flags):
        """Returns settings with other values of these flags.

        Raises:
            TypeError: There is no such flag.
            ValueError: As of the class.
        """
        return type(self)(**fields.values(self) | flags)
