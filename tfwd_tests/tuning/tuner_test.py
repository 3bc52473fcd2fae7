"""Each run is made once, and an unchanged KerasTuner reads the folder.

Covers `promotion` and `stopped`.
"""

import errno
import json
import threading
import time
import warnings

import keras
import keras_tuner
import pytest

from tfwd import durable
from tfwd.training.config import usage
from tfwd.training.runs import lock
from tfwd.tuning.engine import outcome
from tfwd.tuning.engine import promotion
from tfwd.tuning.engine import stopped
from tfwd.tuning.engine import tuner as tuner_lib
from tfwd_tests.tuning import fake_search


def search(folder, run, **kwargs):
    kwargs.setdefault("cells", fake_search.CELLS[:2])
    one = fake_search.oracle(**kwargs)
    tuner_lib.Tuner(one, run, folder, pause=0.01).search()
    return one


def ok(values, folder, seed):
    return outcome.Outcome("completed", 0.1 * seed + 0.2, 1, 1, 0.0)


def test_run_gets_exact_values_the_trial_folder_and_each_seed(tmp_path):
    calls = []

    def run(*arguments):
        calls.append(arguments)
        return ok(*arguments)

    one = search(tmp_path / "s", run, seeds=(3, 4), cells=fake_search.CELLS)
    assert calls == [
        (cell, tmp_path / "s" / f"trial_{index}", seed)
        for index, cell in enumerate(fake_search.CELLS)
        for seed in (3, 4)
    ]
    assert {trial.score for trial in one.trials.values()} == {
        (0.1 * 3 + 0.2 + 0.1 * 4 + 0.2) / 2
    }


def test_search_prints_nothing_and_warns_of_nothing(tmp_path, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            search(tmp_path / "s", ok)
    assert capsys.readouterr() == ("", "")


def test_search_that_has_ended_runs_nothing(tmp_path):
    search(tmp_path / "s", ok)
    files = {p: p.read_bytes() for p in tmp_path.rglob("*.json")}
    search(tmp_path / "s", None)
    assert files == {p: p.read_bytes() for p in tmp_path.rglob("*.json")}


@pytest.mark.parametrize(
    "error",
    [
        stopped.Stopped(143),
        KeyboardInterrupt(),
        durable.WriteError("Cannot write x (No space left on device)"),
        OSError(errno.ENOSPC, "No space left on device"),
    ],
)
def test_stop_and_full_disk_leave_the_trial_ongoing(tmp_path, error):
    def run(values, folder, seed):
        if seed == 1:
            raise error
        return ok(values, folder, seed)

    with pytest.raises(type(error)) as raised:
        search(tmp_path / "s", run, seeds=(0, 1))
    assert raised.value is error
    state = json.loads((tmp_path / "s" / "oracle.json").read_text())
    assert state["ongoing_trials"] == {"tuner0": "0"}
    again = []

    def rest(*arguments):
        again.append((arguments[1].name, arguments[2]))
        return ok(*arguments)

    search(tmp_path / "s", rest, seeds=(0, 1))
    assert again == [("trial_0", 1), ("trial_1", 0), ("trial_1", 1)]


def test_full_disk_behind_another_error_leaves_the_search(tmp_path):
    def run(*_):
        try:
            raise durable.WriteError("full")
        except durable.WriteError as error:
            raise RuntimeError("training") from error

    with pytest.raises(RuntimeError, match="training"):
        search(tmp_path / "s", run)


def test_any_other_exception_is_a_failed_run(tmp_path):
    def run(values, folder, seed):
        if folder.name == "trial_0":
            raise PermissionError(errno.EACCES, "not\nallowed")
        return outcome.Outcome("completed", float("nan"), 1, 1, 0.0)

    one = search(tmp_path / "s", run)
    assert [trial.status for trial in one.trials.values()] == ["FAILED"] * 2
    assert one.trials["0"].message == (
        "failed (seed 0): PermissionError: [Errno 13] not allowed"
    )
    assert "ValueError: `objective` must be finite" in one.trials["1"].message


@pytest.mark.parametrize("is_refusal", [False, True])
def test_run_that_another_process_has_is_tried_again(tmp_path, is_refusal):
    tries = []

    def run(values, folder, seed):
        tries.append(folder.name)
        if len(tries) < 3:
            try:
                raise lock.HeldError("process 1")
            except lock.HeldError:
                if not is_refusal:
                    raise
                raise usage.UsageError("must not be going on") from None
        return ok(values, folder, seed)

    one = search(tmp_path / "s", run)
    assert tries == ["trial_0"] * 3 + ["trial_1"]
    assert {trial.status for trial in one.trials.values()} == {"COMPLETED"}


def test_trial_that_another_process_has_is_waited_for(tmp_path):
    folder = tmp_path / "s" / "trial_0"
    folder.mkdir(parents=True)
    held = lock.Lock(folder)
    begin = time.monotonic()

    def end():
        path = outcome.path_of(folder, 0)
        path.write_text(ok({}, folder, 5).to_json())
        held.release()

    timer = threading.Timer(0.3, end)
    timer.start()
    one = search(tmp_path / "s", ok)
    timer.join()
    assert time.monotonic() - begin >= 0.3
    assert one.trials["0"].score == 0.1 * 5 + 0.2


def test_promoted_trial_goes_on_from_the_run_of_the_other(tmp_path):
    began = []

    def run(values, folder, seed):
        path = folder / f"seed_{seed}" / "steps.csv"
        steps = path.read_text().splitlines() if path.exists() else []
        began.append((len(steps), values["tuner/initial_epoch"]))
        return fake_search.run(values, folder, seed)

    one = fake_search.oracle("hyperband", seeds=(0, 1))
    tuner_lib.Tuner(one, run, tmp_path / "s").search()
    assert all(steps == epoch for steps, epoch in began)
    assert sum(steps > 0 for steps, _ in began) == 2 * (3 + 1 + 2)
    assert not list(tmp_path.rglob(".partial*"))


def test_copy_that_a_kill_has_cut_short_is_made_anew(tmp_path):
    source, target = tmp_path / "a", tmp_path / "b"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "x").write_text("x")
    (source / lock.NAME).write_text("process 1")
    promotion.copy(tmp_path / "none", target)
    assert not target.exists()
    (tmp_path / ".partial-b").mkdir()
    (tmp_path / ".partial-b" / "y").write_text("y")
    promotion.copy(source, target)
    files = [p.relative_to(target).as_posix() for p in target.rglob("*")]
    assert sorted(files) == ["sub", "sub/x"]
    (target / "sub" / "x").write_text("further")
    promotion.copy(source, target)
    assert (target / "sub" / "x").read_text() == "further"


def build(hp):
    hp.Choice("learning_rate", list(fake_search.RATES))
    hp.Choice("weight_decay", list(fake_search.DECAYS))
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize(
    ("kind", "theirs"),
    [
        ("grid", keras_tuner.GridSearch),
        ("grid", keras_tuner.RandomSearch),
        ("random", keras_tuner.RandomSearch),
        ("bayesian", keras_tuner.BayesianOptimization),
        ("hyperband", keras_tuner.Hyperband),
    ],
)
def test_unchanged_keras_tuner_reads_the_folder(tmp_path, kind, theirs, capsys):
    kwargs = {"max_trials": 3} if kind == "bayesian" else {}
    ours = fake_search.search(tmp_path / "s", kind, **kwargs)
    tuner = theirs(
        build,
        fake_search.OBJECTIVE,
        directory=tmp_path,
        project_name="s",
    )
    assert "Reloading Tuner" in capsys.readouterr().out
    tuner.reload()
    completed = {
        trial_id: trial.score
        for trial_id, trial in ours.trials.items()
        if trial.status == "COMPLETED"
    }
    best = min(completed, key=completed.get)
    (hp,) = tuner.get_best_hyperparameters()
    assert hp.values == ours.trials[best].hyperparameters.values
    tuner.results_summary(num_trials=100)
    out = capsys.readouterr().out
    for trial_id, trial in ours.trials.items():
        assert f"Trial {trial_id} summary" in out
        assert f"Score: {trial.score}" in out or trial.message in out
        assert tuner.oracle.trials[trial_id].get_state() == trial.get_state()


def test_unchanged_keras_tuner_reads_a_search_that_was_killed(tmp_path):
    def run(values, folder, seed):
        if folder.name == "trial_3":
            raise stopped.Stopped(143)
        return ok(values, folder, seed)

    with pytest.raises(stopped.Stopped):
        search(tmp_path / "s", run, cells=fake_search.CELLS)
    tuner = keras_tuner.RandomSearch(
        build, fake_search.OBJECTIVE, directory=tmp_path, project_name="s"
    )
    # In the order of their files on the disk.
    assert sorted(tuner.oracle.trials) == ["0", "1", "2", "3"]
    (hp,) = tuner.get_best_hyperparameters()
    assert hp.values in fake_search.CELLS[:3]
