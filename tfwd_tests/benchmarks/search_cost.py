"""What a search costs beside the runs that it makes, in time and in memory.

    python -m tfwd_tests.benchmarks.search_cost

Trains tiny runs (digits, mlp, 1 epoch), by a search and by the parts of the
binary, `job.prepare` and `run.train`, with the same data and splits, in turn in
one process. Prints medians of the seconds from the start of a run to that of
the next one, and their difference, which is the search itself. Then lets a
search of `--trials` go through and prints the memory of the process (resident)
after trial 20 and after the last one.
"""

import argparse
import contextlib
import io
import itertools
import pathlib
import statistics
import tempfile
import time
from unittest import mock

from tfwd import tune
from tfwd.training.runs import job as job_lib
from tfwd.training.runs import run as run_lib
from tfwd.tuning.runs import runner

# Of a trial of 30 seconds, in seconds.
AIM = 0.9
GROWTH_AIM = 5.0
_FIRST = 20
_FLAGS = (
    *("--dataset=digits", "--model=mlp", "--epochs=1", "--hidden_units=32"),
    *("--tuner=random", "--search=learning_rate=log:1e-4:1e-2", "--noretrain"),
)


def main(arguments=None):
    """Prints both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--runs", type=int, default=10)
    options = parser.parse_args(arguments)
    searched, plain = seconds(options.runs)
    medians = statistics.median(searched), statistics.median(plain)
    cost = medians[0] - medians[1]
    print(
        f"A trial takes {medians[0]:.3f} s, its run alone {medians[1]:.3f} s "
        f"(ratio {medians[0] / medians[1]:.3f}): the search {cost:.3f} s, "
        f"{100 * cost / 30:.2f} % of a trial of 30 s (aim <= {AIM} s)"
    )
    sizes = memory(options.trials)
    first = sizes[min(_FIRST, len(sizes) - 1) - 1]
    growth = 100 * (sizes[-1] / first - 1)
    print(
        f"Memory after trial {min(_FIRST, len(sizes) - 1)}: {first:.0f} MiB, "
        f"after trial {len(sizes)}: {sizes[-1]:.0f} MiB "
        f"({growth:+.1f} %, aim <= {GROWTH_AIM} %)"
    )


def seconds(runs, repeats=3):
    """Returns the seconds of each trial, and of each run without a search."""
    # What only the first run of a process does.
    search(2, lambda: None)
    searched, plain = [], []
    for _ in range(repeats):
        starts, settings = [], []

        def note(starts=starts):
            starts.append(time.perf_counter())

        # The last trial has no next one.
        search(runs + 1, note, settings)
        searched += [b - a for a, b in itertools.pairwise(starts)]
        plain += [_seconds(*each) for each in settings[:runs]]
    return searched, plain


def memory(trials):
    """Returns the resident memory in MiB at the end of each trial."""
    sizes = []

    def note():
        sizes.append(resident())

    search(trials, note)
    return [*sizes[1:], resident()]


def resident():
    """Returns the resident memory of this process in MiB."""
    status = pathlib.Path("/proc/self/status").read_text()
    (line,) = (row for row in status.splitlines() if row.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def search(trials, on_run, settings=None):
    """Searches with this many trials.

    Args:
        trials: How many.
        on_run: Called before each run.
        settings: A list that gets (`Settings`, data set, splits) of each.
    """

    class Watched(runner.Runner):
        def __call__(self, values, trial_folder, seed):
            on_run()
            if settings is not None:
                of_run = self._plan.settings(values)
                source = self._plan.sources.of(of_run)
                splits = self._plan.evaluated(source)
                settings.append((of_run, source, splits))
            return super().__call__(values, trial_folder, seed)

    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(runner, "Runner", Watched),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        flags = (f"--max_trials={trials}", f"--output_dir={folder}/search")
        code = tune.main([*_FLAGS, *flags])
    if code:
        raise RuntimeError(f"The search ended with exit code {code}")


def _seconds(settings, source, splits):
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stdout(io.StringIO()),
    ):
        place = settings.replace(output_dir=f"{folder}/run")
        begin = time.perf_counter()
        run_lib.train(job_lib.prepare(place, source=source, splits=splits))
        return time.perf_counter() - begin


if __name__ == "__main__":
    main()
