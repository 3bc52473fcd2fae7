"""What a search will take: its cells, its steps, and the time of one step."""

import dataclasses
import pathlib
import tempfile
import time

from tfwd.training.runs import job as job_lib
from tfwd.training.runs import pace
from tfwd.tuning.runs import sources

# The first is compiled.
_STEPS = 3


@dataclasses.dataclass(frozen=True)
class Work:
    """What a search consists of.

    Attributes:
        trials: How many cells are trained.
        seeds: How many runs each has.
        steps: Training steps in all; at most so many where runs end early.
        is_bound: Whether runs may end early.
    """

    trials: int
    seeds: int
    steps: int
    is_bound: bool

    @property
    def runs(self):
        """How many runs there are."""
        return self.trials * self.seeds


def work(plan, oracle):
    """Returns the `Work` of a `plan.Plan`, whose data is loaded.

    Of ranges, from which trials are drawn, one cell stands for all.

    Raises:
        UsageError: The data set of a cell cannot be loaded, or does not fit it.
    """
    if plan.cells is not None:
        trials = len(plan.cells)
        steps = sum(_checked_steps(plan))
    else:
        per_run = steps_of(plan, plan.example)
        trials = plan.search.trials
        steps = per_run * (trials or 0)
        if plan.search.tuner == "hyperband":
            trials, epochs = oracle.budget()
            steps = per_run // plan.example.schedule.epochs * epochs
    seeds = len(plan.seeds)
    is_bound = plan.search.prune != "none"
    return Work(trials, seeds, steps * seeds, is_bound)


def steps_of(plan, settings):
    """Returns the training steps of a run."""
    return settings.schedule.epochs * plan.sources.training_steps(settings)


def _checked_steps(plan):
    """Yields the steps of each cell, after a look at its data."""
    groups = {}
    for cell in plan.cells:
        settings = plan.settings(cell)
        groups.setdefault(sources.flags_of(settings), []).append(settings)
    # So that each data set is loaded once.
    for group in groups.values():
        for settings in group:
            plan.sources.of(settings)
            yield steps_of(plan, settings)


def seconds_per_step(settings, source):
    """Times a training step of a run, compiled, without evaluation."""
    with tempfile.TemporaryDirectory() as folder:
        place = str(pathlib.Path(folder, "run"))
        job = job_lib.prepare(settings.replace(output_dir=place), source=source)
        try:
            iterator = iter(job.batches(0))
            job.loop.advance(iterator, 0, 1)
            begin = time.perf_counter()
            for step in range(1, 1 + _STEPS):
                job.loop.advance(iterator, step, 1)
            return (time.perf_counter() - begin) / _STEPS
        finally:
            job.folder.release()


def text(work, seconds):
    """Returns the lines of a --dry_run.

    Args:
        work: A `Work`.
        seconds: Of a step.
    """
    most = "at most " if work.is_bound else ""
    seeds = f" × {work.seeds} seeds" if work.seeds > 1 else ""
    return (
        f"{work.trials:,} cells{seeds} = {work.runs:,} runs, "
        f"{most}{work.steps:,} training steps of about {seconds:.2g} s here: "
        f"{most}{pace.duration(work.steps * seconds)}, and the evaluation "
        "after each epoch"
    )
