"""Trains or evaluates a model: `python -m tfwd.train --help`."""

from tfwd.training.config import flagfile
from tfwd.training.config import usage
from tfwd.training.runs import command


def main(arguments):
    """Runs the binary.

    Args:
        arguments: The command line without the program's name.

    Returns:
        Exit code: 0; 2 after one line on stderr for bad input and for a loss
        that is NaN or infinite; 1 for a disk or a worker that fails; 128 +
        the number of the signal that stopped it.
    """
    command.begin()
    try:
        with usage.refusals():
            settings = flagfile.parse(arguments)
            command.load_tensorflow()
    except usage.UsageError as error:
        return command.refuse(error)
    # Needs TensorFlow, which flags and --help do not wait for.
    from tfwd.training.runs import execution

    return execution.execute(settings)


if __name__ == "__main__":
    command.run(main)
