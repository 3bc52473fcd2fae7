"""Searches whose runs take milliseconds, in this process and in others."""

import dataclasses
import math
import os
import pathlib
import time

import keras_tuner

from tfwd.training.runs import lock
from tfwd.tuning.engine import oracles
from tfwd.tuning.engine import outcome
from tfwd.tuning.engine import tuner as tuner_lib

RATES = (1e-3, 0.1 + 0.2, 1e-1)
DECAYS = (1e-5, 1e-4, 1 / 3)
CELLS = [
    {"learning_rate": rate, "weight_decay": decay}
    for rate in RATES
    for decay in DECAYS
]
OBJECTIVE = keras_tuner.Objective("val_error", "min")


def space():
    hp = keras_tuner.HyperParameters()
    hp.Choice("learning_rate", list(RATES))
    hp.Choice("weight_decay", list(DECAYS))
    return hp


def ranges():
    hp = keras_tuner.HyperParameters()
    hp.Float("learning_rate", 1e-4, 1e-1, sampling="log")
    hp.Float("weight_decay", 1e-5, 1e-2, sampling="log")
    return hp


def oracle(kind="grid", **kwargs):
    common = {"objective": OBJECTIVE, "seed": 0, **kwargs}
    common.setdefault(
        "hyperparameters", space() if kind == "grid" else ranges()
    )
    match kind:
        case "grid":
            return oracles.GridOracle(**{"cells": CELLS, **common})
        case "random":
            return oracles.RandomOracle(**{"max_trials": 8, **common})
        case "bayesian":
            return oracles.BayesianOracle(**{"max_trials": 8, **common})
        case "hyperband":
            return oracles.HyperbandOracle(**{"max_epochs": 9, **common})


def error_of(values, seed):
    """A smooth surface with all digits, another one for each seed."""
    distance = math.log10(values["learning_rate"] * values["weight_decay"]) + 5
    return distance**2 / 10 + math.sin(seed) / 100


def run(values, folder, seed, seconds=0.0):
    """Writes a line a step and goes on after the last one."""
    folder = folder / f"seed_{seed}"
    folder.mkdir(exist_ok=True)
    held = lock.Lock(folder)
    try:
        path = folder / "steps.csv"
        epochs = values.get("tuner/epochs", 3)
        done = path.read_text().splitlines() if path.exists() else []
        for epoch in range(len(done), epochs):
            time.sleep(seconds)
            with path.open("a") as file:
                file.write(f"{epoch}\n")
        if values["learning_rate"] == 1e-3 and values["weight_decay"] > 0.1:
            return outcome.Outcome(
                "diverged", None, 2, None, 1.0, "loss is not finite"
            )
        if values["learning_rate"] == 0.1 and values["weight_decay"] > 0.1:
            raise RuntimeError("broken,\n'twice'")
        error = error_of(values, seed) + 1 / epochs
        return outcome.Outcome("completed", error, epochs, epochs, 1.0)
    finally:
        held.release()


def search(folder, kind="grid", seconds=0.0, environment=(), **kwargs):
    """Searches in this process, or is its part of a search of several."""
    os.environ.update(environment)
    one = oracle(kind, silence=2.0, **kwargs)
    tuner_lib.Tuner(
        one,
        lambda *arguments: run(*arguments, seconds=seconds),
        pathlib.Path(folder),
        pause=0.02,
        patience=30.0,
        beat=0.2,
        farewell=1.0,
    ).search()
    return one


def process(folder, kind, seconds, environment, seeds):
    """`search` for `processes.start`; says when it has been loaded."""
    print("begun", flush=True)
    search(folder, kind, seconds, environment, seeds=seeds)
    return 0


def results(folder, kind="grid", **kwargs):
    """Reads a folder: (id, values, status, score, message, seeds' outcomes)."""
    one = oracle(kind, **kwargs)
    folder = pathlib.Path(folder).absolute()
    one._set_project_dir(str(folder.parent), folder.name)
    one.reload()
    return [
        (
            trial_id,
            trial.hyperparameters.values,
            trial.status,
            trial.score,
            trial.message,
            [
                dataclasses.replace(
                    outcome.read(one.trial_folder(trial_id), seed), seconds=0
                )
                for seed in one.seeds
            ],
        )
        for trial_id, trial in sorted(one.trials.items())
    ]
