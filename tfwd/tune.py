"""Searches hyperparameters of `tfwd.train`: `python -m tfwd.tune --help`."""

from tfwd.training.config import flagfile
from tfwd.training.config import settings as settings_lib
from tfwd.training.config import usage
from tfwd.training.runs import command
from tfwd.tuning import flags as flags_lib
from tfwd.tuning.values import space as space_lib


def main(arguments):
    """Runs the binary.

    Args:
        arguments: The command line without the program's name.

    Returns:
        Exit code: 0; 2 after one line on stderr for bad input, and where no
        trial was completed; 1 for a disk that fails; 128 + the number of the
        signal that stopped it, after which the same command goes on.
    """
    command.begin()
    try:
        with usage.refusals():
            flags = flagfile.read(
                arguments, flags_lib.Search, settings_lib.Settings
            )
            space = space_lib.parse(flags.of(flags_lib.Search))
            command.load_tensorflow()
    except usage.UsageError as error:
        return command.refuse(error)
    # Needs TensorFlow, which flags and --help do not wait for.
    from tfwd.tuning import search

    return search.execute(flags, space)


if __name__ == "__main__":
    command.run(main)
