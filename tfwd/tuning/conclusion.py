"""The end of a search: the best cell, trained again and tested, the report."""

import itertools
import os

from tfwd import durable
from tfwd.training.config import flag_lines
from tfwd.training.runs import command
from tfwd.training.runs import logs
from tfwd.training.runs import run_files
from tfwd.training.setup import optimization as optimizer_lib
from tfwd.tuning import search_folder
from tfwd.tuning.engine import outcome
from tfwd.tuning.output import plots
from tfwd.tuning.output import report
from tfwd.tuning.output import results
from tfwd.tuning.runs import training_run

FLAGS = "best.flags"
REPORT = "report.md"
FOLDER = "best"
_SPLITS = ("validation", "test")


def conclude(plan, folder, rows, trials):
    """Trains the best cell again, and writes and prints what was found.

    Args:
        plan: A `plan.Plan`.
        folder: The `pathlib.Path` of the search.
        rows: Those of trials.csv.
        trials: How many trials there were.

    Returns:
        The exit code: 0, or 2 after one line where no trial was completed.

    Raises:
        Stopped: A signal asked the process to end.
        BusyError: Another process trains the best cell.
        OSError: A disk fails.
    """
    best = results.best(rows, plan.objective, len(plan.seeds))
    if best is None:
        write_report(plan, folder, rows, trials)
        return command.refuse(
            f"none of the {trials} trials was completed, see {folder / REPORT}"
        )
    settings = write_flags(plan, best, folder)
    _make_room(settings, folder)
    tested = _last_measures(folder / FOLDER)
    if plan.search.retrain:
        if tested is None:
            # It may take as long as the search, whose results are there.
            write_report(plan, folder, rows, trials)
        tested = retrain(plan, settings, folder)
    write_report(plan, folder, rows, trials, tested)
    if isinstance(tested, str):
        print(f"The best cell, trained again, {tested}")
    elif tested is not None:
        print("The best cell, trained again on all training data:")
        print(logs.table(tested))
    for path in sorted(folder.iterdir()):
        if path.suffix in (".csv", ".flags", ".md", ".png"):
            print(path)
    return 0


def write_report(plan, folder, rows, trials, tested=None):
    """Writes report.md and its plot.

    Args:
        plan: A `plan.Plan`.
        folder: The `pathlib.Path` of the search.
        rows: Those of trials.csv.
        trials: How many trials there were.
        tested: What `retrain` returned; None without it.

    Raises:
        WriteError: The file cannot be written.
    """
    names = plan.space.names
    best = results.best(rows, plan.objective, len(plan.seeds))
    title = f"{plan.example.model.model} on {plan.example.data.dataset}"
    if "optimizer" not in plan.names:
        title += f", {plan.example.optimizer.optimizer}"
    text = report.text(
        report.Search(
            title=title,
            flags=tuple(search_folder.lines(plan.flags)),
            names=names,
            objective=plan.objective,
            select_on=plan.search.select_on,
            cells=trials,
            seeds=len(plan.seeds),
        ),
        rows,
        replay=f"./launch/train.sh --flagfile={folder / FLAGS}",
        plot=plots.draw(
            results.cells(rows), names, plan.objective, title, folder, best
        ),
        retrained=tested,
        default=_default(plan),
    )
    durable.write_text(folder / REPORT, text)


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
    settings = plan.settings(best.values).replace(
        num_validation=0, seed=plan.seeds[0]
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
        BusyError: Another process trains it.
        OSError: A disk fails.
    """
    place = folder / FOLDER
    status, reason = training_run.train(
        settings.replace(output_dir=str(place), resume="auto"),
        plan.sources.of(settings),
    )
    if status != outcome.COMPLETED:
        return f"{status}: {reason}"
    return _last_measures(place)


def _make_room(settings, folder):
    """Sets a run in the way aside: of a cell that was the best before.

    As in a search that has gone on with more trials.
    """
    place = folder / FOLDER
    flags = run_files.Files(place).flags
    if not flags.exists():
        return
    text = flags.read_text(encoding="utf-8", errors="replace")
    if not flag_lines.differences(settings, text.splitlines()):
        return
    for number in itertools.count(1):
        aside = folder / f"{FOLDER}-{number}"
        if not aside.exists():
            os.replace(place, aside)
            durable.sync_folder(folder)
            print(f"{place} was of another cell: it is {aside} now")
            return


def _last_measures(run):
    """Returns {split: {measure: value}} of a run at its end, else None."""
    files = run_files.Files(run)
    if not files.final_model.exists():
        return None
    row = logs.read(files.metrics)[-1]
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


def _default(plan):
    """The λ of the optimizer's default, None where several are searched."""
    if "weight_decay" not in plan.space.names or "optimizer" in plan.names:
        return None
    return optimizer_lib.weight_decay(plan.example.replace(weight_decay=None))
