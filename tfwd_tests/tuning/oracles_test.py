"""The oracles ask for the right trials, and for the same ones after a kill.

Covers `durable_oracle`, `hyperband_oracle` and `verdict`.
"""

import dataclasses
import json
import math

import keras_tuner
import numpy as np
import pytest
from keras_tuner.engine import trial as trial_lib

from tfwd import durable
from tfwd.tuning.engine import durable_oracle
from tfwd.tuning.engine import outcome
from tfwd_tests.tuning import fake_search

KINDS = ("grid", "random", "bayesian", "hyperband")
FAILURE = outcome.Outcome("failed", None, 0, None, 0.0, "broken")


def opened(folder, kind="grid", **kwargs):
    """An oracle as a tuner opens it."""
    one = fake_search.oracle(kind, **kwargs)
    one._set_project_dir(str(folder), "search")
    one.reload()
    one.save()
    return one


def end(one, trial, *outcomes):
    """Ends a trial with the outcomes of its seeds."""
    for seed, each in zip(one.seeds, outcomes, strict=True):
        path = outcome.path_of(one.trial_folder(trial.trial_id), seed)
        path.write_text(each.to_json())
    one.end_trial(trial)
    return one.trials[trial.trial_id]


def completed(objective):
    return outcome.Outcome("completed", objective, 1, 1, 0.0)


def values_of(trial):
    return trial.trial_id, trial.hyperparameters.values


@pytest.mark.parametrize("kind", KINDS)
def test_seed_0_is_a_seed(tmp_path, kind):
    def first(name, seed):
        one = opened(tmp_path / name, kind, seed=seed)
        assert one.seed == seed
        return values_of(one.create_trial("tuner0"))

    assert first("a", 0) == first("b", 0)
    if kind != "grid":
        assert first("c", 1) != first("a2", 0)


def test_bayesian_model_is_of_seed_0_too(tmp_path):
    assert opened(tmp_path, "bayesian").gpr.random_state == 0


def test_grid_has_its_cells_in_order_and_then_stops(tmp_path):
    one = opened(tmp_path)
    for index, cell in enumerate(fake_search.CELLS):
        trial = one.create_trial("tuner0")
        assert values_of(trial) == (str(index), cell)
        end(one, trial, completed(1.0))
    assert one.create_trial("tuner0").status == "STOPPED"
    assert one.tuner_ids == set()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stop", ["started", "half_ended"])
def test_oracle_goes_on_as_if_it_had_never_been_stopped(tmp_path, kind, stop):
    """At each step it is opened anew, as after a kill at that moment."""

    def trials(folder, step):
        found = []
        one = opened(folder, kind, **few)
        while (trial := one.create_trial("tuner0")).status == "RUNNING":
            one = step(one, folder, trial)
            trial = one.create_trial("tuner0")
            found.append(values_of(trial))
            value = fake_search.error_of(trial.hyperparameters.values, 0)
            ended = end(
                one, trial, completed(value) if len(found) % 4 else FAILURE
            )
            found.append((ended.status, ended.score, ended.message))
        return found

    def killed(one, folder, trial):
        if stop == "half_ended":
            # Its own file has its end already.
            path = one.trial_folder(trial.trial_id) / "trial.json"
            end = {"status": "COMPLETED", "score": 7.0}
            path.write_text(json.dumps(json.loads(path.read_text()) | end))
        return opened(folder, kind, **few)

    few = {}
    if kind == "bayesian":
        few = {"max_trials": 5, "num_initial_points": 3}
    whole = trials(tmp_path / "whole", lambda one, *_: one)
    assert trials(tmp_path / "killed", killed) == whole
    assert len(whole) >= 10


@pytest.mark.parametrize("kind", KINDS)
def test_trial_that_oracle_json_has_not_started_is_made_again(tmp_path, kind):
    one = opened(tmp_path, kind)
    end(one, one.create_trial("tuner0"), completed(1.0))
    text = (one.folder / "oracle.json").read_text()
    second = values_of(one.create_trial("tuner0"))
    (one.folder / "oracle.json").write_text(text)
    again = opened(tmp_path, kind)
    assert list(again.trials) == again.start_order and len(again.trials) == 1
    assert values_of(again.create_trial("tuner0")) == second


def test_values_are_not_tried_twice_also_after_a_kill(tmp_path):
    few = keras_tuner.HyperParameters()
    few.Choice("rate", [1, 2, 3])
    tried = []
    while True:
        one = opened(tmp_path, "random", hyperparameters=few)
        trial = one.create_trial("a")
        if trial.status == "STOPPED":
            break
        tried.append(trial.hyperparameters.get("rate"))
        end(one, trial, completed(1.0))
    assert sorted(tried) == [1, 2, 3]


def test_disk_that_is_full_leaves_the_lock_open(tmp_path, monkeypatch):
    one = opened(tmp_path)

    def refuse(path, text):
        raise durable.WriteError("full")

    with monkeypatch.context() as patch:
        patch.setattr(durable, "write_text", refuse)
        with pytest.raises(durable.WriteError):
            one.create_trial("tuner0")
    assert one._lock.acquire(blocking=False)
    assert values_of(opened(tmp_path).create_trial("tuner0"))[0] == "0"


def test_ongoing_trials_stay_with_their_tuners(tmp_path):
    one = opened(tmp_path)
    first = [values_of(one.create_trial(name)) for name in ("a", "b")]
    again = opened(tmp_path)
    assert [values_of(again.create_trial(name)) for name in ("b", "a")] == [
        *reversed(first)
    ]
    assert values_of(again.create_trial("c"))[0] == "2"


def test_trial_of_a_silent_tuner_is_given_away_last(tmp_path):
    cells = fake_search.CELLS[:3]
    one = opened(tmp_path, cells=cells)
    for name in ("a", "b"):
        one.create_trial(name)
    again = opened(tmp_path, cells=cells, silence=0)
    trial = again.create_trial("c")
    assert trial.trial_id == "2"
    end(again, trial, completed(1.0))
    taken = again.create_trial("c")
    assert taken.trial_id == "0" and "a" not in again.ongoing_trials
    # The kill of one that has taken over.
    assert opened(tmp_path, cells=cells).create_trial("c").trial_id == "0"
    end(again, taken, completed(1.0))
    end(again, again.create_trial("c"), completed(1.0))
    assert again.create_trial("c").status == "STOPPED"


def test_trial_of_a_tuner_that_was_heard_is_waited_for(tmp_path):
    one = opened(tmp_path, cells=fake_search.CELLS[:1])
    trial = one.create_trial("a")
    assert one.create_trial("b").status == "IDLE"
    assert not one.is_over(farewell=0)
    end(one, trial, completed(1.0))
    assert one.create_trial("b").status == "STOPPED"
    assert not one.is_over(farewell=100)
    assert one.create_trial("a").status == "STOPPED"
    assert one.is_over(farewell=100)


def test_tuner_that_is_gone_is_not_waited_for(tmp_path):
    one = opened(tmp_path, cells=fake_search.CELLS[:1])
    end(one, one.create_trial("a"), completed(1.0))
    assert one.is_over(farewell=-1) and not one.is_over(farewell=100)


def test_score_is_the_mean_of_the_seeds_with_all_digits(tmp_path):
    one = opened(tmp_path, seeds=(3, 4, 5))
    numbers = (0.1, 0.7 + 1e-16, 1 / 3)
    trial = one.create_trial("a")
    end(one, trial, *map(completed, numbers))
    (again,) = opened(tmp_path, seeds=(3, 4, 5)).trials.values()
    assert again.score == math.fsum(numbers) / 3
    assert again.status == "COMPLETED"
    assert again.metrics.get_history("val_error")[0].value == list(numbers)


def test_what_comes_back_from_a_worker_is_not_looked_at(tmp_path):
    one = opened(tmp_path, "random")
    trial = one.create_trial("a")
    own = dict(trial.hyperparameters.values)
    back = trial_lib.Trial.from_proto(trial.to_proto())
    back.status, back.score = "COMPLETED", math.nan
    back.hyperparameters.values["learning_rate"] = 7.0
    end(one, back, completed(0.1))
    assert one.trials["0"].hyperparameters.values == own
    assert one.trials["0"].score == 0.1


@pytest.mark.parametrize("status", ["failed", "diverged", "pruned"])
def test_trial_with_one_bad_seed_has_failed_with_its_reason(tmp_path, status):
    one = opened(tmp_path, seeds=(0, 1))
    bad = dataclasses.replace(FAILURE, status=status)
    trial = end(one, one.create_trial("a"), completed(0.1), bad)
    assert (trial.status, trial.score) == ("FAILED", None)
    assert trial.message == f"{status} (seed 1): broken"
    assert one.get_best_trials(1)[0].status == "FAILED"
    assert opened(tmp_path).trials["0"].message == trial.message


def test_failure_is_told_before_a_pruned_seed(tmp_path):
    one = opened(tmp_path, seeds=(0, 1))
    pruned = outcome.Outcome("pruned", 0.5, 1, 1, 0.0, "worse")
    trial = end(one, one.create_trial("a"), pruned, FAILURE)
    assert trial.message == "failed (seed 1): broken"


@pytest.mark.parametrize("kind", KINDS)
def test_no_number_of_failures_ends_the_search(tmp_path, kind):
    one = opened(tmp_path, kind)
    count = 0
    while (trial := one.create_trial("a")).status == "RUNNING":
        end(one, trial, FAILURE)
        count += 1
    assert trial.status == "STOPPED"
    # The three brackets of Hyperband begin with 9, 5 and 3 random trials.
    assert count == {"grid": 9, "hyperband": 9 + 5 + 3}.get(kind, 8)


def test_end_without_outcomes_is_refused_and_twice_is_once(tmp_path):
    ended = []
    one = opened(tmp_path, on_end=ended.append)
    trial = one.create_trial("a")
    with pytest.raises(durable_oracle.MissingOutcomeError, match="seed_0.json"):
        one.end_trial(trial)
    assert one.create_trial("a") is trial and ended == []
    end(one, trial, completed(1.0))
    end(one, trial, completed(2.0))
    assert ended == [trial] and trial.score == 1.0
    assert one.end_order == ["0"]


def test_callback_that_fails_is_called_again(tmp_path):
    def refuse(trial):
        raise durable.WriteError("full")

    one = opened(tmp_path, on_end=refuse)
    trial = one.create_trial("a")
    with pytest.raises(durable.WriteError):
        end(one, trial, completed(1.0))
    ended = []
    again = opened(tmp_path, on_end=ended.append)
    end(again, again.create_trial("a"), completed(1.0))
    assert [each.trial_id for each in ended] == ["0"]
    assert again.trials["0"].score == 1.0


def test_hyperband_promotes_the_best_even_if_most_have_failed(tmp_path):
    one = opened(tmp_path, "hyperband")
    for index in range(9):
        good = index in (2, 5)
        trial = one.create_trial("a")
        end(one, trial, completed(9.0 - index) if good else FAILURE)
    for past in ("0005", "0002"):
        trial = one.create_trial("a")
        values = trial.hyperparameters.values
        assert values["tuner/trial_id"] == past
        assert values["tuner/epochs"] == 3
        assert values["tuner/initial_epoch"] == 1
        end(one, trial, completed(1.0))
    # A third is not there to promote: the next bracket begins.
    values = one.create_trial("a").hyperparameters.values
    assert values["tuner/round"] == 0 and values["tuner/bracket"] == 1


def test_hyperband_without_failures_is_that_of_keras_tuner(tmp_path):
    theirs = keras_tuner.oracles.HyperbandOracle(
        fake_search.OBJECTIVE,
        max_epochs=9,
        seed=5,
        hyperparameters=fake_search.ranges(),
    )
    theirs._set_project_dir(str(tmp_path), "theirs")
    theirs.verbose = 0
    ours = opened(tmp_path, "hyperband", seed=5)
    count = 0
    while (trial := ours.create_trial("a")).status == "RUNNING":
        values = trial.hyperparameters.values
        value = fake_search.error_of(values, 0) / values["tuner/epochs"]
        other = theirs.create_trial("a")
        assert values_of(other) == values_of(trial)
        end(ours, trial, completed(value))
        theirs.update_trial(other.trial_id, {"val_error": value})
        other.status = "COMPLETED"
        theirs.end_trial(other)
        count += 1
    assert theirs.create_trial("a").status == "STOPPED"
    assert count == 9 + 3 + 1 + 5 + 2 + 3


def test_bayesian_search_leaves_what_fails(tmp_path):
    """Where the half with the larger rates diverges."""
    one = opened(tmp_path, "bayesian", max_trials=10, num_initial_points=3)
    failed = []
    while (trial := one.create_trial("a")).status == "RUNNING":
        values = trial.hyperparameters.values
        failed.append(values["learning_rate"] > 3e-3)
        value = fake_search.error_of(values, 0)
        end(one, trial, FAILURE if failed[-1] else completed(value))
    x, y = one._vectorize_trials()
    assert len(x) == len(y) == 10
    assert np.all(y[failed] == np.max(y[~np.array(failed)]))
    assert np.mean(failed[-4:]) <= 0.5


def test_file_that_is_missing_or_damaged_is_named(tmp_path):
    one = opened(tmp_path)
    one.create_trial("a")
    path = one.trial_folder("0") / "trial.json"
    path.write_text("{")
    with pytest.raises(ValueError, match="trial_0/trial.json must be") as error:
        opened(tmp_path)
    assert "\n" not in str(error.value)
    path.unlink()
    with pytest.raises(ValueError, match="trial_0/trial.json must be"):
        opened(tmp_path)
