"""Plans of small searches on digits, whose runs are faked."""

import dataclasses

from tfwd.training.config import flagfile
from tfwd.training.config import settings as settings_lib
from tfwd.training.setup import inputs
from tfwd.training.setup import limits
from tfwd.tuning import flags as flags_lib
from tfwd.tuning import plan as plan_lib
from tfwd.tuning.values import space as space_lib
from tfwd_tests.tuning import small


def make(*arguments):
    """The plan of a command line; by default of 2 x 2 cells."""
    flags = read(*(arguments or small.GRID))
    return plan_lib.make(flags, space_lib.parse(flags.of(flags_lib.Search)))


def read(*arguments):
    """The flags of a command line."""
    return flagfile.read(
        [*small.SMALL, *arguments], flags_lib.Search, settings_lib.Settings
    )


@dataclasses.dataclass
class Source:
    """A data set of so many training examples."""

    examples: int
    split_names: tuple = ("train", "validation", "test")

    def size(self, split):
        return self.examples


def count_loads(monkeypatch):
    """Lets data sets be fakes; returns the list that their loads add to."""
    loads = []

    def load(settings):
        loads.append(settings.train_fraction)
        return Source(round(1000 * settings.train_fraction))

    monkeypatch.setattr(inputs, "load", load)
    monkeypatch.setattr(limits, "check_data", lambda settings, source: None)
    monkeypatch.setattr(
        inputs,
        "training_steps",
        lambda settings, source: source.examples // settings.data.batch_size,
    )
    return loads
