"""The best cell of a search, trained again, and the report."""

import pathlib

import pytest

from tfwd.training.config import flag_lines
from tfwd.training.config import flagfile
from tfwd.training.runs import logs
from tfwd.tuning import conclusion
from tfwd.tuning.engine import outcome
from tfwd.tuning.engine import stopped
from tfwd.tuning.runs import training_run
from tfwd_tests.tuning import plans
from tfwd_tests.tuning import searches

RATES = (0.001, 0.01)
GRID = "--search=learning_rate=choice:0.001,0.01"


@pytest.fixture
def retrained(monkeypatch):
    """Lets retraining write what a run would; its attributes say how it ends.

    Those of whom it was asked are in `settings`, the reports it saw in
    `reports`.
    """

    def train(settings, source=None, splits=None, goes_on=None):
        folder = pathlib.Path(settings.run.output_dir)
        train.settings.append(settings)
        train.reports.append((folder.parent / "report.md").read_text())
        if train.error is not None:
            raise train.error
        folder.mkdir(exist_ok=True)
        lines = "\n".join(flag_lines.lines(settings))
        (folder / "flags.txt").write_text(lines)
        if train.ended[0] == outcome.COMPLETED:
            file = logs.MetricsFile(folder / "metrics.csv")
            for step, accuracy in enumerate((0.95, 0.9), start=1):
                row = {"step": step, "test_loss": 0.5}
                file.append(row | {"test_accuracy": accuracy})
            file.close()
            (folder / "final.keras").touch()
        return train.ended

    train.settings, train.reports, train.error = [], [], None
    train.ended = outcome.COMPLETED, ""
    monkeypatch.setattr(training_run, "train", train)
    return train


def _conclude(folder, accuracies, *flags):
    """Concludes a search whose two cells have these accuracies."""
    plan = plans.make(GRID, *flags)
    by_rate = dict(zip(RATES, accuracies, strict=True))
    rows = searches.rows(
        {"learning_rate": RATES},
        lambda learning_rate, seed: by_rate[learning_rate],
        len(plan.seeds),
    )
    return conclusion.conclude(plan, folder, rows, len(RATES))


def test_the_best_cell_is_trained_on_all_training_data(
    tmp_path, retrained, capsys
):
    flags = ("--seed=5", "--trials_per_cell=2")
    assert _conclude(tmp_path, (0.5, 0.6), *flags) == 0
    (settings,) = retrained.settings
    assert settings.optimizer.learning_rate == 0.01
    assert (settings.data.num_validation, settings.run.seed) == (0, 5)
    assert settings.schedule.epochs == 2
    recorded = flagfile.recorded(tmp_path / "best.flags")
    assert flag_lines.lines(recorded) == flag_lines.lines(settings)
    # The last epoch, not that of the best test.
    assert "| test | 0.5 | 0.9 |" in (tmp_path / "report.md").read_text()
    out = capsys.readouterr().out
    assert "0.9000" in out and str(tmp_path / "best.flags") in out


def test_the_report_is_there_before_the_retraining(tmp_path, retrained):
    retrained.error = stopped.Stopped(143)
    with pytest.raises(stopped.Stopped):
        _conclude(tmp_path, (0.5, 0.6))
    assert "learning_rate=0.01" in (tmp_path / "report.md").read_text()
    retrained.error = None
    assert _conclude(tmp_path, (0.5, 0.6)) == 0
    assert "| test | 0.5 | 0.9 |" in (tmp_path / "report.md").read_text()


def test_a_report_never_loses_its_test(tmp_path, retrained):
    for _ in range(2):
        assert _conclude(tmp_path, (0.5, 0.6)) == 0
    assert "| test | 0.5 | 0.9 |" in retrained.reports[1]


def test_another_best_cell_does_not_take_the_folder_of_the_first(
    tmp_path, retrained, capsys
):
    assert _conclude(tmp_path, (0.5, 0.6)) == 0
    assert _conclude(tmp_path, (0.7, 0.6)) == 0
    of = {
        name: flagfile.recorded(
            tmp_path / name / "flags.txt"
        ).optimizer.learning_rate
        for name in ("best", "best-1")
    }
    assert of == {"best": 0.001, "best-1": 0.01}
    assert "best-1" in capsys.readouterr().out


def test_a_search_without_retraining_has_no_such_run(tmp_path, retrained):
    assert _conclude(tmp_path, (0.5, 0.6), "--noretrain") == 0
    assert retrained.settings == []
    assert "It was not retrained." in (tmp_path / "report.md").read_text()
    assert (tmp_path / "best.flags").exists()


def test_a_retraining_that_diverged_is_told(tmp_path, retrained, capsys):
    retrained.ended = outcome.DIVERGED, "The loss was not finite"
    assert _conclude(tmp_path, (0.5, 0.6)) == 0
    text = (tmp_path / "report.md").read_text()
    assert "It diverged: The loss was not finite." in text
    assert "diverged: The loss" in capsys.readouterr().out


def test_without_a_completed_cell_there_is_a_report_and_exit_code_2(
    tmp_path, retrained, capsys
):
    bad = ("failed", "why")
    assert _conclude(tmp_path, (bad, bad)) == 2
    assert retrained.settings == []
    assert not (tmp_path / "best.flags").exists()
    assert "why" in (tmp_path / "report.md").read_text()
    assert capsys.readouterr().err.count("\n") == 1


def test_an_accuracy_is_maximized_and_a_loss_minimized(tmp_path, retrained):
    for objective, rate in (("accuracy", 0.01), ("loss", 0.001)):
        folder = tmp_path / objective
        folder.mkdir()
        flags = (f"--objective=validation_{objective}",)
        assert _conclude(folder, (0.5, 0.6), *flags) == 0
        assert retrained.settings[-1].optimizer.learning_rate == rate
