"""The end of a search: the best cell, trained again and tested."""

import dataclasses

from tfwd import durable
from tfwd.training import flag_lines
from tfwd.training import logs
from tfwd.tuning import outcome
from tfwd.tuning import training_run

FLAGS = "best.flags"
FOLDER = "best"
_SPLITS = ("train", "validation", "test")


def write_flags(plan, best, folder):
    """Writes best.flags, by which the binary trains the best cell.

    On all training data, the validation examples too.

    Args:
        plan: A `plan.Plan`.
        best: The best `results.Cell`.
        folder: The `pathlib.Path` of the search.

    Returns:
        The `Settings`.

    Raises:
        WriteError: The file cannot be written.
    """
    settings = dataclasses.replace(
        plan.settings(best.values), num_validation=0, seed=plan.seeds[0]
    )
    lines = [
        f"# Trial {best.trial} of a search: {plan.objective.name} {best.mean}.",
        "",
        *flag_lines.lines(settings),
    ]
    durable.write_text(folder / FLAGS, "\n".join(lines) + "\n")
    return settings


def retrain(plan, settings, folder):
    """Trains the best cell on all training data, or goes on with it.

    Args:
        plan: A `plan.Plan`.
        settings: What `write_flags` returned.
        folder: The `pathlib.Path` of the search.

    Returns:
        {split: {measure: value}} after the last epoch, or why there is none,
        a text.

    Raises:
        Stopped: A signal asked the process to end.
        OSError: A disk fails.
    """
    place = folder / FOLDER
    status, reason = training_run.train(
        dataclasses.replace(settings, output_dir=str(place), resume="auto"),
        plan.sources.of(settings),
    )
    if status != outcome.COMPLETED:
        return f"{status}: {reason}"
    row = logs.read(place / "metrics.csv")[-1]
    return {
        split: measures
        for split in _SPLITS
        if (measures := _measures(row, f"{split}_"))
    }


def _measures(row, prefix):
    return {
        name.removeprefix(prefix): value
        for name, value in row.items()
        if name.startswith(prefix) and value is not None
    }
