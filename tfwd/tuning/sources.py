"""The data sets of a search, which its runs share."""

from tfwd.training import inputs
from tfwd.training import limits

# What decides a data set.
_FLAGS = ("dataset", "data_dir", "num_validation", "train_fraction", "bptt")


class Sources:
    """Loads a data set once for runs that follow each other."""

    def __init__(self):
        self._flags = None
        self._source = None

    def of(self, settings):
        """Returns the data set that the settings ask for.

        Raises:
            ValueError: As `tfwd.training.inputs.load`.
        """
        flags = [getattr(settings, name) for name in _FLAGS]
        if flags != self._flags:
            # The one before may be large.
            self._flags = self._source = None
            self._source = inputs.load(settings)
            self._flags = flags
        limits.check_data(settings, self._source)
        return self._source
