"""The runs of a search for TensorBoard's HParams plugin.

    OUT/tensorboard/                   what is searched, and the metric
    OUT/tensorboard/trial_07/seed_0/   values, objective per epoch, status

The seeds of a trial are one session group there. Each part is written beside
and moved there whole, so that a run that is written again is not there twice.
"""

import contextlib
import os
import shutil

from tfwd import durable
from tfwd.tuning.engine import outcome
from tfwd.tuning.output import wording


def write_experiment(folder, objective, choices=(), intervals=()):
    """Writes what is searched, once: it stays as it is when it is there.

    Args:
        folder: OUT/tensorboard, a `pathlib.Path`; made if need be.
        objective: An `objective.Objective`.
        choices: {name: the values that there are}.
        intervals: {name: (low, high)} of numbers between two, integers if both
            ends are.
    """
    if any(folder.glob("events.*")):
        return
    from tensorboard.plugins.hparams import api

    domains = {name: _discrete(of) for name, of in dict(choices).items()}
    for name, (low, high) in dict(intervals).items():
        is_whole = type(low) is type(high) is int
        kind = api.IntInterval if is_whole else api.RealInterval
        domains[name] = kind(low, high)
    with _written(folder, "experiment") as partial:
        api.hparams_config(
            [api.HParam(name, domain) for name, domain in domains.items()],
            [api.Metric(objective.name, display_name=objective.name)],
        )
    for path in partial.iterdir():
        os.replace(path, folder / path.name)
    partial.rmdir()


def write_run(folder, trial, seed, values, rows, objective, status):
    """Writes a run that has ended, in the place of what it had written before.

    Args:
        folder: OUT/tensorboard, a `pathlib.Path`; made if need be.
        trial: The id of its trial.
        seed: Its seed.
        values: {searched or linked name: value}.
        rows: Of its metrics.csv, as `tfwd.training.runs.logs.read` gives them.
        objective: An `objective.Objective`.
        status: That of its `Outcome`.
    """
    import tensorflow as tf
    from tensorboard.plugins.hparams import api
    from tensorboard.plugins.hparams import api_pb2
    from tensorboard.plugins.hparams import summary

    is_done = status == outcome.COMPLETED
    ended = api_pb2.STATUS_SUCCESS if is_done else api_pb2.STATUS_FAILURE
    with _written(folder, f"{trial}-{seed}") as partial:
        api.hparams(
            {
                name: _allowed(value)
                for name, value in values.items()
                if value is not None
            },
            trial_id=trial,
        )
        for row in rows:
            if row.get(objective.name) is not None:
                tf.summary.scalar(
                    objective.name, row[objective.name], int(row["epoch"])
                )
        end = summary.session_end_pb(ended).SerializeToString()
        tf.summary.experimental.write_raw_pb(end, step=0)
    place = folder / f"trial_{trial}" / f"seed_{seed}"
    durable.make_folder(place.parent)
    shutil.rmtree(place, ignore_errors=True)
    os.replace(partial, place)


@contextlib.contextmanager
def _written(folder, name):
    """A fresh folder that summaries go to in the context, outside of `folder`.

    TensorBoard would read what is within.
    """
    import tensorflow as tf

    durable.make_folder(folder)
    partial = folder.with_name(f".partial-{folder.name}-{name}")
    shutil.rmtree(partial, ignore_errors=True)
    writer = tf.summary.create_file_writer(str(partial))
    with writer.as_default(step=0):
        yield partial
    writer.close()


def _discrete(values):
    from tensorboard.plugins.hparams import api

    allowed = [_allowed(value) for value in values]
    kinds = set(map(type, allowed))
    if kinds == {int, float}:
        allowed = list(map(float, allowed))
    elif len(kinds) > 1:
        allowed = list(map(wording.of_value, allowed))
    return api.Discrete(allowed)


def _allowed(value):
    """A value as the plugin takes it."""
    if isinstance(value, (bool, int, float, str)):
        return value
    return wording.of_value(value)
