"""A run that is led epoch by epoch."""

from tfwd.training.config import flagfile
from tfwd.training.runs import job as job_lib
from tfwd.training.runs import run
from tfwd_tests.training import runs


def _trained(folder, *limits):
    """Trains two epochs, one call per limit; returns the exit codes."""
    codes = []
    for limit in limits:
        settings = flagfile.parse(
            [*runs.QUICK, "--epochs=2", f"--output_dir={folder}"]
        )
        asked = []

        def goes_on(epochs, limit=limit, asked=asked):
            asked.append(epochs)
            return epochs < limit

        codes.append(run.train(job_lib.prepare(settings), goes_on))
        assert asked == list(range(asked[0], min(limit, 1) + 1))
    return codes


def test_a_run_that_paused_ends_as_one_that_did_not(tmp_path):
    assert _trained(tmp_path / "one", 2) == [0]
    assert _trained(tmp_path / "other", 0, 1) == [0, 0]
    assert not (tmp_path / "other" / "final.keras").exists()
    assert len(runs.rows(tmp_path / "other")) == 1
    assert _trained(tmp_path / "other", 2) == [0]
    assert runs.rows(tmp_path / "other") == runs.rows(tmp_path / "one")
    assert (tmp_path / "other" / "final.keras").exists()


def test_the_folder_of_a_paused_run_is_free(tmp_path):
    _trained(tmp_path / "run", 1)
    _trained(tmp_path / "run", 1)
    assert len(runs.rows(tmp_path / "run")) == 1
