"""The data sets of a search, which its runs share."""

from tfwd.training.config import fields
from tfwd.training.setup import inputs
from tfwd.training.setup import limits

# What decides a data set.
_FLAGS = ("dataset", "data_dir", "num_validation", "train_fraction", "bptt")


def flags_of(settings):
    """Returns the values that decide the data set of `Settings`, a tuple."""
    values = fields.values(settings)
    return tuple(values[name] for name in _FLAGS)


class Sources:
    """Loads a data set once for runs that follow each other."""

    def __init__(self):
        self._flags = None
        self._source = None
        # {(flags, batch size): training steps of an epoch}.
        self._steps = {}

    def of(self, settings):
        """Returns the data set that the settings ask for.

        Raises:
            ValueError: As `tfwd.training.setup.inputs.load`.
        """
        flags = flags_of(settings)
        if flags != self._flags:
            # The one before may be large.
            self._flags = self._source = None
            self._source = inputs.load(settings.data)
            self._flags = flags
        limits.check_data(settings.data, self._source)
        return self._source

    def training_steps(self, settings):
        """Returns the training steps of an epoch of a run.

        They are remembered, so that to ask for those of another run does not
        cost the data set that is loaded.

        Raises:
            ValueError: As `of`.
        """
        key = (flags_of(settings), settings.data.batch_size)
        if key not in self._steps:
            self._steps[key] = inputs.training_steps(
                settings, self.of(settings)
            )
        return self._steps[key]
