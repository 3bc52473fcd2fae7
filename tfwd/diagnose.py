"""Measures the mechanisms of a trained model: `python -m tfwd.diagnose --help`.

Either of a .keras file on a data set, or of a run at its newest checkpoint, on
the data of its flags. Prints a table and the generalization gap.
"""

import dataclasses

from tfwd.training.config import choices
from tfwd.training.config import flagfile
from tfwd.training.config import paths
from tfwd.training.config import rules
from tfwd.training.config import usage
from tfwd.training.runs import command


def _flag(default, text, **limits):
    return dataclasses.field(default=default, metadata={"help": text, **limits})


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is measured; each field is a flag of the same name.

    Raises:
        ValueError: A value breaks a rule; the message names the flag.
    """

    model_file: str | None = _flag(
        None, "a .keras file", group="Model and data"
    )
    model: str | None = _flag(
        None,
        "the function that made the model of --model_file, whose module "
        "registers layers of its own",
        choices=(),
        form=(choices.FUNCTION, choices.is_function),
        needs="--model_file",
    )
    checkpoint: str | None = _flag(
        None, "the folder of a run, or its folder of checkpoints"
    )
    dataset: str | None = _flag(
        None,
        "data set that --model_file is measured on",
        choices=choices.DATASETS,
    )
    data_dir: str | None = _flag(
        None,
        "folder of the data set; default: the run's, none for a --model_file",
    )
    split: str = _flag(
        "train",
        "split that is measured on",
        choices=("train", "validation", "test"),
    )
    examples: int = _flag(
        1000,
        "examples that are measured on, of either split for the "
        "generalization gap",
        at_least=1,
    )
    diagnostics: tuple[str, ...] = _flag(
        choices.DIAGNOSTICS, "what is measured", choices=choices.DIAGNOSTICS
    )
    projections: int | None = _flag(
        None,
        "random projections by which an example's Jacobian is estimated; "
        "default: none, a backward pass for each output instead",
        at_least=1,
    )
    output: str | None = _flag(None, "a new CSV file for the table")

    def __post_init__(self):
        rules.check_fields(self)
        if (self.model_file is None) == (self.checkpoint is None):
            rules.refuse(
                "model_file",
                "must be given, or else --checkpoint",
                self.model_file,
            )
        if (self.model_file is None) != (self.dataset is None):
            rules.refuse(
                "dataset", "goes together with --model_file", self.dataset
            )
        if self.model is not None and self.model_file is None:
            rules.refuse("model", "needs --model_file", self.model)
        if self.output is not None:
            _check_output(paths.expanded("output", self.output))


def main(arguments):
    """Runs the binary.

    Args:
        arguments: The command line without the program's name.

    Returns:
        Exit code: 0, or 2 after one line on stderr for bad input.
    """
    command.begin()
    try:
        with usage.refusals():
            settings = flagfile.parse(arguments, Settings)
            command.load_tensorflow()
            # Needs TensorFlow, which flags and --help do not wait for.
            from tfwd.training.runs import diagnosis

            diagnosis.diagnose(settings)
    except usage.UsageError as error:
        return command.refuse(error)
    return 0


def _check_output(path):
    if path.exists() or not path.parent.is_dir():
        rules.refuse("output", "must be a new file in a folder", path)


if __name__ == "__main__":
    command.run(main)
