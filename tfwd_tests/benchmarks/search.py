"""Time that a search itself takes for a trial, after thousands of others.

    python -m tfwd_tests.benchmarks.search

Prints milliseconds, median and longest, from the end of a trial to the next
one (both are on disk afterwards), and those of a tuner that is started again.
"""

import argparse
import json
import pathlib
import statistics
import tempfile
import time

import keras_tuner

from tfwd.tuning.engine import oracles
from tfwd.tuning.engine import outcome

AIM = 100.0
_OUTCOME = outcome.Outcome("completed", 0.1 + 0.2, 10, 10, 30.0)


def main(arguments=None):
    """Prints a row for each kind of search."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args(arguments)
    print(f"{options.trials} finished trials, ms")
    print(f"{'':<10}{'median':>9}{'longest':>9}{'aim':>9}{'reload':>9}")
    for name in ("grid", "random"):
        with tempfile.TemporaryDirectory() as folder:
            seconds, reload = measure(
                name, pathlib.Path(folder), options.trials, options.repeats
            )
        print(
            f"{name:<10}{1000 * statistics.median(seconds):>9.1f}"
            f"{1000 * max(seconds):>9.1f}"
            f"{f'<= {AIM:g}':>9}{1000 * reload:>9.0f}"
        )


def measure(name, folder, trials, repeats):
    """Returns the seconds of each next trial, and those of a reload."""
    one = oracle(name, folder, trials + repeats + 1)
    fill(one, trials)
    trial = one.create_trial("tuner0")
    seconds = []
    for _ in range(repeats):
        path = outcome.path_of(one.trial_folder(trial.trial_id), 0)
        path.write_text(_OUTCOME.to_json())
        begin = time.perf_counter()
        one.end_trial(trial)
        trial = one.create_trial("tuner0")
        seconds.append(time.perf_counter() - begin)
        if trial.status != "RUNNING":
            raise RuntimeError(f"The search has ended with {trial.status}")
    again = oracle(name, folder, trials + repeats + 1)
    begin = time.perf_counter()
    again.reload()
    reload = time.perf_counter() - begin
    if len(again.trials) != trials + repeats + 1:
        raise RuntimeError(f"{len(again.trials)} trials were read back")
    return seconds, reload


def oracle(name, folder, trials):
    """Returns an oracle of as many trials, with a learning rate and a decay."""
    space = keras_tuner.HyperParameters()
    for flag in ("learning_rate", "weight_decay"):
        space.Float(flag, 1e-5, 1e-1, sampling="log")
    common = {
        "objective": keras_tuner.Objective("val_error", "min"),
        "hyperparameters": space,
        "seed": 0,
    }
    if name == "grid":
        cells = [
            {"learning_rate": 1e-5 * (k + 1), "weight_decay": 1e-4}
            for k in range(trials)
        ]
        one = oracles.GridOracle(cells, **common)
    else:
        one = oracles.RandomOracle(max_trials=trials, **common)
    one._set_project_dir(str(folder), "search")
    return one


def fill(one, trials):
    """Lets as many trials end, without waiting for the disk."""

    def save_trial(trial):
        folder = one.trial_folder(trial.trial_id)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "trial.json").write_text(json.dumps(trial.get_state()))

    one.save, one._save_trial = lambda: None, save_trial
    for _ in range(trials):
        trial = one.create_trial("tuner0")
        path = outcome.path_of(one.trial_folder(trial.trial_id), 0)
        path.write_text(_OUTCOME.to_json())
        one.end_trial(trial)
    del one.save, one._save_trial
    one.save()


if __name__ == "__main__":
    main()
