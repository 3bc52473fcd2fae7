"""What a search tells while it goes on, and keeps."""

import contextlib
import io
import sys

import pytest

from tfwd.training.config import usage
from tfwd.tuning import estimate
from tfwd.tuning import record
from tfwd.tuning import search
from tfwd.tuning.engine import outcome
from tfwd.tuning.engine import tuner as tuner_lib
from tfwd.tuning.output import trials
from tfwd_tests.tuning import plans

# Four cells of two epochs of 13 steps.
CELLS = "--search=learning_rate=choice:0.001,0.002,0.003,0.004"
DONE = outcome.Outcome("completed", 0.5, 2, 2, 1.0)


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Search:
    """A search whose trials are ended by hand, and its `Record`."""

    def __init__(self, folder, *arguments, output=None, is_chief=False):
        self.folder = folder
        self.plan = plans.make(CELLS, *arguments)
        with contextlib.redirect_stdout(output or sys.stdout):
            self.record = record.Record(self.plan, folder, is_chief)
        self.oracle = search.oracle_of(self.plan, self.record.ended)
        self.tuner = tuner_lib.Tuner(self.oracle, None, folder)

    def begin(self):
        work = estimate.work(self.plan, self.oracle)
        self.record.begin(self.oracle, work)
        return self

    def start(self):
        return self.oracle.create_trial("tuner0")

    def settings(self, trial, seed=0):
        """Those of a run, as `runner.Runner` makes them."""
        values = trial.hyperparameters.values
        folder = self.oracle.trial_folder(trial.trial_id) / f"seed_{seed}"
        made = self.plan.settings(values)
        return made.replace(output_dir=str(folder))

    def end(self, trial, result=DONE):
        folder = self.oracle.trial_folder(trial.trial_id)
        for seed in self.plan.seeds:
            run = folder / f"seed_{seed}"
            (run / "checkpoints").mkdir(parents=True, exist_ok=True)
            for name in ("last.keras", "metrics.csv"):
                (run / name).touch()
            outcome.path_of(folder, seed).write_text(result.to_json())
        self.oracle.end_trial(trial)


@pytest.fixture
def clock(monkeypatch):
    """The time in seconds, which tests set."""
    now = [1000.0]
    monkeypatch.setattr(record.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def terminal():
    return Terminal()


def _last(stream):
    return stream.getvalue().rpartition("\r")[2]


def test_epochs_are_shown_though_a_run_has_a_log(tmp_path, clock, terminal):
    one = Search(tmp_path, output=terminal).begin()
    settings = one.settings(one.start())
    with contextlib.redirect_stdout(io.StringIO()) as log:
        one.record.epoch(settings, 0)
        clock[0] += 10
        one.record.epoch(settings, 1)
    assert log.getvalue() == ""
    # 7 epochs are left, of 10 seconds each.
    assert "trial 1 of 4" in _last(terminal)
    assert "about 70 s left" in _last(terminal)
    assert not terminal.getvalue().count("\n")


def test_a_log_gets_a_line_per_trial(tmp_path, clock, capsys):
    one = Search(tmp_path).begin()
    trial = one.start()
    for epochs in (0, 1, 2):
        one.record.epoch(one.settings(trial), epochs)
        clock[0] += 5
    assert capsys.readouterr().out == ""
    one.end(trial)
    assert capsys.readouterr().out == (
        "trial 2 of 4, best validation_accuracy 0.5 (learning_rate=0.001), "
        "about 45 s left\n"
    )


def test_the_time_left_is_that_of_what_this_process_does(
    tmp_path, clock, terminal
):
    first = Search(tmp_path, output=terminal).begin()
    first.end(first.start())
    first.start()
    again = Search(tmp_path, output=terminal).begin()
    trial = again.start()
    assert trial.trial_id == "1"
    # An earlier process was after epoch 1.
    again.record.epoch(again.settings(trial), 1)
    assert " left" not in _last(terminal)
    clock[0] += 10
    again.record.epoch(again.settings(trial), 2)
    assert "about 40 s left" in _last(terminal)
    again.end(trial)
    assert "trial 3 of 4" in _last(terminal)
    assert "about 40 s left" in _last(terminal)


def test_a_chief_counts_trials_of_others(tmp_path, clock, terminal):
    one = Search(tmp_path, is_chief=True, output=terminal).begin()
    trials_ = [one.start()]
    clock[0] += 10
    one.end(trials_[0])
    assert "about 30 s left" in _last(terminal)


def test_pruned_trials_make_it_the_most_that_is_left(tmp_path, clock, terminal):
    one = Search(tmp_path, "--prune=median", output=terminal).begin()
    trial = one.start()
    one.record.epoch(one.settings(trial), 0)
    clock[0] += 10
    one.record.epoch(one.settings(trial), 1)
    one.end(trial, outcome.Outcome("pruned", 0.1, 1, 1, 1.0, "why"))
    assert "none completed yet, at most 60 s left" in _last(terminal)


def test_a_promoted_trial_counts_its_own_epochs(tmp_path, clock, terminal):
    flags = ("--tuner=hyperband", "--epochs=3")
    one = Search(tmp_path, *flags, output=terminal).begin()
    trial = one.start()
    one.record.epoch(one.settings(trial), 1, 1)
    clock[0] += 10
    one.record.epoch(one.settings(trial), 2, 1)
    # Of the budget of 11 epochs 1 is done and 10 are left.
    assert "about 2 min left" in _last(terminal)


def test_trials_csv_is_there_before_oracle_json_says_so(tmp_path, clock):
    one = Search(tmp_path).begin()
    before = (tmp_path / "oracle.json").read_text()
    seen = []
    ended = one.oracle.on_end

    def on_end(trial):
        ended(trial)
        seen.append(trials.read(tmp_path / "trials.csv"))
        raise KeyboardInterrupt

    one.oracle.on_end = on_end
    with pytest.raises(KeyboardInterrupt):
        one.end(one.start())
    assert [row["trial"] for row in seen[0]] == ["0"]
    assert '"end_order": []' in before.replace("'", '"')
    # As after a kill there: the trial is ended again.
    again = Search(tmp_path).begin()
    trial = again.start()
    assert trial.trial_id == "0"
    again.end(trial)
    assert again.record.rows() == seen[0]


def test_a_table_that_was_deleted_comes_back(tmp_path, clock):
    one = Search(tmp_path).begin()
    one.end(one.start())
    text = (tmp_path / "trials.csv").read_text()
    (tmp_path / "trials.csv").unlink()
    Search(tmp_path).begin()
    assert (tmp_path / "trials.csv").read_text() == text


def test_an_outcome_that_is_missing_is_one_line(tmp_path, clock):
    one = Search(tmp_path).begin()
    trial = one.start()
    one.end(trial)
    (one.oracle.trial_folder(trial.trial_id) / "seed_0.json").unlink()
    with pytest.raises(usage.UsageError, match=r"trial_0/seed_0\.json"):
        Search(tmp_path).begin()


@pytest.mark.parametrize(
    ("flags", "kept_then", "kept_at_the_end"),
    [
        ((), False, False),
        (("--keep_trials=all",), True, True),
        (("--tuner=hyperband",), True, False),
    ],
)
def test_what_only_going_on_would_need_is_removed(
    tmp_path, clock, flags, kept_then, kept_at_the_end
):
    one = Search(tmp_path, *flags).begin()
    trial = one.start()
    one.end(trial)
    run = one.oracle.trial_folder(trial.trial_id) / "seed_0"
    for kept in (kept_then, kept_at_the_end):
        assert (run / "checkpoints").exists() == kept
        assert (run / "last.keras").exists() == kept
        one.record.tidy()
    assert (run / "metrics.csv").exists()


def test_nothing_of_a_run_is_kept_after_its_trial(tmp_path, clock):
    one = Search(tmp_path).begin()
    for _ in range(3):
        trial = one.start()
        one.record.epoch(one.settings(trial), 0)
        one.record.epoch(one.settings(trial), 2)
        one.end(trial)
    assert one.record._ongoing == {}
