"""The settings of a run: nested frozen dataclasses, validated once."""

import dataclasses
import warnings

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


@dataclasses.dataclass(frozen=True, init=False)
class Settings:
    """Everything that decides a run, in groups.

    Each field of a group is a flag of the same name, and an argument:

        settings = Settings(epochs=2, optimizer="adams")
        settings.schedule.epochs
        settings.replace(epochs=3)

    `None` means: not given, the default of whoever uses the value.

    Args:
        **flags: {name: value} of those flags that are not at their defaults.

    Raises:
        TypeError: There is no such flag.
        ValueError: A value breaks a rule; the message names the flag.
    """

    schedule: schedule_settings.Schedule
    data: data_settings.Data
    model: model_settings.Model
    optimizer: optimizer_settings.Optimizer
    kfac: kfac_settings.KFAC
    distribution: distribution_settings.Distribution
    run: run_settings.Run

    HEADINGS = (
        *("Run", "Data", "Model", "Training", "Devices", "Optimizer"),
        *("Weight decay", "Arguments of the optimizers", "K-FAC"),
        *("Gradients and averages", "Schedules", "Diagnostics"),
        "Norm transfer",
    )

    def __init__(self, **flags):
        for group in dataclasses.fields(self):
            values = {
                field.name: _converted(field, flags.pop(field.name))
                for field in dataclasses.fields(group.type)
                if field.name in flags
            }
            object.__setattr__(self, group.name, group.type(**values))
        if flags:
            raise TypeError(
                "`Settings` takes flags of the training. Received: "
                f"{', '.join(flags)}"
            )
        rules.check(self)
        effects.check(self)

    def __getattr__(self, name):
        for group in dataclasses.fields(self):
            if name in {each.name for each in dataclasses.fields(group.type)}:
                warnings.warn(
                    f"Settings.{name} is Settings.{group.name}.{name}",
                    DeprecationWarning,
                    stacklevel=2,
                )
                return getattr(getattr(self, group.name), name)
        raise AttributeError(f"Settings has no flag {name!r}")

    def replace(self, **flags):
        """Returns settings with other values of these flags.

        Raises:
            TypeError: There is no such flag.
            ValueError: As of the class.
        """
        return type(self)(**fields.values(self) | flags)


def _converted(field, value):
    is_integer = rules.kind_of(field) is float and type(value) is int
    return float(value) if is_integer else value
