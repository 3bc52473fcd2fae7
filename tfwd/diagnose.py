"""Measures the mechanisms of a trained model: `python -m tfwd.diagnose --help`.

Either of a .keras file on a data set, or of a run at its newest checkpoint, on
the data of its flags. Prints a table and the generalization gap.
"""

import dataclasses
import pathlib
import sys

import keras

from tfwd import data
from tfwd.diagnostics import measures
from tfwd.diagnostics import mechanisms
from tfwd.diagnostics import table
from tfwd.training import command
from tfwd.training import diagnostics
from tfwd.training import flagfile
from tfwd.training import inputs
from tfwd.training import rules
from tfwd.training import trained
from tfwd.training import usage


def _flag(default, text, **limits):
    return dataclasses.field(default=default, metadata={"help": text, **limits})


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is measured; each field is a flag of the same name.

    Raises:
        ValueError: A value breaks a rule; the message names the flag.
    """

    model_file: str | None = _flag(None, "a .keras file")
    checkpoint: str | None = _flag(
        None, "the folder of a run, or its folder of checkpoints"
    )
    dataset: str | None = _flag(
        None, "data set that --model_file is measured on", choices=data.NAMES
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
        mechanisms.NAMES, "what is measured", choices=mechanisms.NAMES
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
        if self.output is not None:
            _check_output(pathlib.Path(self.output))


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
            command.check_backend()
            found = _found(settings)
            _check(settings, found)
            with inputs.named_damage(lambda: found.source):
                rows, gap = _rows_and_gap(settings, found)
            _write(settings, rows, gap)
    except usage.UsageError as error:
        return command.refuse(error)
    return 0


def _write(settings, rows, gap):
    print(table.as_text(rows))
    if gap is not None:
        print(f"\ngeneralization gap  {gap:.4g}  (test loss - train loss)")
    if settings.output is not None:
        try:
            table.File(settings.output).append(rows)
        except OSError as error:
            rules.refuse(
                "output", f"must be writable ({error})", settings.output
            )


def _found(settings):
    if settings.checkpoint is not None:
        return trained.of_run(settings.checkpoint, settings.data_dir)
    return trained.of_file(
        settings.model_file, settings.dataset, settings.data_dir
    )


def _check(settings, found):
    names = found.source.split_names
    if settings.split not in names:
        rules.refuse(
            "split",
            f"must be one of {', '.join(names)} for {found.source.name}",
            settings.split,
        )
    diagnostics.check(settings.diagnostics, found.task)


def _rows_and_gap(settings, found):
    """Rows and gap; where a model has none, its file is refused."""
    try:
        return _measured(settings, found), _gap(settings, found)
    except (NotImplementedError, TypeError, ValueError) as error:
        if settings.model_file is None:
            raise
        rules.refuse(
            "model_file",
            f"must hold a model that can be measured ({error})",
            settings.model_file,
        )


def _measured(settings, found):
    is_exact = settings.projections is None
    measure = mechanisms.Mechanisms(
        found.model,
        settings.diagnostics,
        loss=_loss(found.model),
        projections=settings.projections,
        estimation="exact" if is_exact else "sampled",
    ).measure
    batches = ()
    if set(settings.diagnostics) - set(diagnostics.WITHOUT_DATA):
        batches = _batches(settings, found, settings.split)
    return [
        {**row, "epoch": found.epoch, "step": found.step}
        for row in measure(batches, found.optimizer)
    ]


def _gap(settings, found):
    """Test loss - train loss; None for texts, whose loss carries states."""
    if found.task == "language_model":
        return None
    return measures.generalization_gap(
        found.model,
        _batches(settings, found, "train"),
        _batches(settings, found, "test"),
        _loss(found.model),
    )


def _batches(settings, found, split):
    return diagnostics.batches(
        found.source, split, settings.examples, found.strategy
    )


def _loss(model):
    """The loss of a model that is not compiled; None for one that is."""
    if model.compiled:
        return None
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def _check_output(path):
    if path.exists() or not path.parent.is_dir():
        rules.refuse("output", "must be a new file in a folder", path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
