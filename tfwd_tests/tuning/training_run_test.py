"""A run of a search ends as it should, whatever ends it.

Covers `graphs`.
"""

import gc
import os
import signal

import keras
import pytest

from tfwd.training.config import settings as settings_lib
from tfwd.training.runs import lock
from tfwd.tuning import objective
from tfwd.tuning.engine import outcome
from tfwd.tuning.engine import stopped
from tfwd.tuning.runs import training_run
from tfwd_tests.tuning import metrics

ACCURACY = objective.Objective("validation_accuracy", True)


def settings(folder, **more):
    small = {"hidden_units": 16, "train_fraction": 0.1, "epochs": 2}
    return settings_lib.Settings(
        **small | {"num_validation": 100} | more, output_dir=str(folder)
    )


def _asked_to_stop(then):
    """A `goes_on` in whose first call SIGTERM comes."""

    def goes_on(epochs):
        os.kill(os.getpid(), signal.SIGTERM)
        return then()

    return goes_on


def _fault():
    raise RuntimeError("a fault")


@pytest.mark.parametrize(
    ("then", "flags"),
    [
        pytest.param(_fault, {}, id="fails"),
        pytest.param(lambda: False, {}, id="ends"),
        pytest.param(
            lambda: True,
            {"optimizer": "sgd", "learning_rate": 1e30},
            id="diverges",
        ),
        pytest.param(lambda: True, {}, id="goes on"),
    ],
)
def test_a_run_that_was_asked_to_stop_stops_the_search(tmp_path, then, flags):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(stopped.Stopped) as caught:
        training_run.train(
            settings(tmp_path / "run", **flags), goes_on=_asked_to_stop(then)
        )
    assert caught.value.exit_code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_run_that_fails_leaves_its_traceback_in_the_log(tmp_path):
    run = settings(tmp_path / "run")
    with pytest.raises(RuntimeError, match="a fault"):
        training_run.train(run, goes_on=lambda epochs: _fault())
    log = (tmp_path / "run.log").read_text()
    assert "Traceback" in log and "in _fault" in log


def test_a_run_that_another_process_trains_is_busy(tmp_path):
    run = settings(tmp_path / "run")
    assert training_run.train(run, goes_on=lambda epochs: False)[0] == (
        outcome.COMPLETED
    )
    held = lock.Lock(tmp_path / "run")
    try:
        with pytest.raises(training_run.BusyError):
            training_run.train(run)
    finally:
        held.release()


def test_a_refused_run_has_failed_with_one_line(tmp_path):
    run = settings(tmp_path / "run", num_validation=5000)
    status, reason = training_run.train(run)
    assert status == outcome.FAILED
    assert reason.startswith("`num_validation`") and "\n" not in reason


@pytest.mark.parametrize(
    ("select_on", "value"), [("final", 0.7), ("best", 0.75)]
)
def test_a_completed_run_counts_with_its_final_or_its_best_epoch(
    tmp_path, select_on, value
):
    folder = metrics.write(tmp_path / "run", 0.5, 0.75, 0.7)
    found = training_run.outcome_of(
        folder, (outcome.COMPLETED, ""), ACCURACY, select_on
    )
    assert found == outcome.Outcome("completed", value, 3, 2, 1.5)


@pytest.mark.parametrize("select_on", ["final", "best"])
def test_a_pruned_run_has_the_objective_of_its_last_epoch(tmp_path, select_on):
    folder = metrics.write(tmp_path / "run", 0.75, 0.5)
    found = training_run.outcome_of(
        folder, (outcome.PRUNED, "why"), ACCURACY, select_on
    )
    assert found == outcome.Outcome("pruned", 0.5, 2, 1, 1.0, "why")


def test_a_run_without_an_epoch_has_nothing_but_its_reason(tmp_path):
    ended = (outcome.DIVERGED, "not finite")
    found = training_run.outcome_of(tmp_path, ended, ACCURACY, "final")
    assert found == outcome.Outcome("diverged", None, 0, None, 0.0, *ended[1:])


@pytest.mark.full
def test_runs_leave_no_graphs_behind(tmp_path):
    def graphs():
        gc.collect()
        kinds = [type(each).__name__ for each in gc.get_objects()]
        return sum(name.endswith("FuncGraph") for name in kinds)

    counts = []
    for number in range(3):
        run = settings(tmp_path / str(number), epochs=1)
        assert training_run.train(run) == (outcome.COMPLETED, "")
        # As the next run begins.
        keras.backend.clear_session()
        counts.append(graphs())
    assert counts == counts[:1] * 3
