"""What each process of a search does."""

import pytest

from tfwd.tuning import flags as flags_lib
from tfwd.tuning import search
from tfwd.tuning import search_folder
from tfwd.tuning.engine import tuner as tuner_lib
from tfwd.tuning.values import space as space_lib
from tfwd_tests.tuning import plans
from tfwd_tests.tuning import small


@pytest.fixture
def worker(monkeypatch):
    """Lets this process be a worker, whose chief has nothing to do."""
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
    monkeypatch.setenv("KERASTUNER_ORACLE_PORT", "8000")
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "tuner0")
    searches = []

    class Tuner:
        def __init__(self, oracle, run, folder):
            assert oracle.on_end is None

        def search(self):
            searches.append(self)

    monkeypatch.setattr(tuner_lib, "Tuner", Tuner)
    return searches


def _execute(*arguments):
    flags = plans.read(*arguments)
    space = space_lib.parse(flags.of(flags_lib.Search))
    return search.execute(flags, space)


def test_a_worker_writes_nothing_of_the_chiefs(tmp_path, worker, capsys):
    folder = tmp_path / "search"
    flags = (*small.GRID, "--tensorboard", f"--output_dir={folder}")
    assert _execute(*flags) == 0
    assert len(worker) == 1
    assert not folder.exists()
    assert capsys.readouterr().out == ""


def test_a_worker_of_another_search_is_refused(tmp_path, worker, capsys):
    flags = (*small.GRID, "--num_validation=150")
    search_folder.claim(tmp_path, plans.make(*flags).flags).release()
    assert _execute(*flags, f"--output_dir={tmp_path}") == 0
    other = (*flags, "--epochs=3", f"--output_dir={tmp_path}")
    assert _execute(*other) == 2
    assert "--epochs=2, not --epochs=3" in capsys.readouterr().err
    assert len(worker) == 1


def test_several_processes_need_a_folder_of_that_name(worker, capsys):
    assert _execute(*small.GRID) == 2
    assert "`--output_dir` is needed" in capsys.readouterr().err
