"""The output folder: fresh by default, never another run's."""

import dataclasses
import datetime

import pytest

from tfwd.training import flagfile
from tfwd.training import output
from tfwd.training import settings as settings_lib

NOW = datetime.datetime(2024, 5, 6, 7, 8, 9)


def test_default_folder_tells_the_run_and_is_always_fresh(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    settings = settings_lib.Settings()
    first = output.choose(settings, NOW)
    assert str(first.path) == "runs/digits-mlp-adams-20240506-070809"
    assert not first.is_begun
    assert not first.path.exists()
    output.create(first, settings)
    second = output.choose(settings, NOW)
    assert str(second.path) == "runs/digits-mlp-adams-20240506-070809-2"


def test_created_folder_replays_the_settings(tmp_path):
    settings = settings_lib.Settings(output_dir=str(tmp_path / "a" / "b"))
    folder = output.choose(settings)
    output.create(folder, settings)
    replayed = flagfile.parse([f"--flagfile={folder.path / 'flags.txt'}"])
    assert replayed == dataclasses.replace(
        settings, output_dir=None, weight_decay=5e-4
    )


def test_folder_with_the_same_run_is_that_run_and_keeps_its_flags(tmp_path):
    settings = settings_lib.Settings(output_dir=str(tmp_path))
    output.create(output.choose(settings), settings)
    other_way = dataclasses.replace(settings, checkpoint_every="5")
    begun = output.choose(other_way)
    assert begun == output.Folder(tmp_path, is_begun=True)
    before = (tmp_path / "flags.txt").read_bytes()
    output.create(begun, other_way)
    assert (tmp_path / "flags.txt").read_bytes() == before
    (tmp_path / "final.keras").write_text("model")
    assert output.choose(settings).is_complete


def test_folder_with_the_same_run_is_refused_under_resume_never(tmp_path):
    settings = settings_lib.Settings(output_dir=str(tmp_path), resume="never")
    output.create(output.choose(settings), settings)
    with pytest.raises(ValueError, match="same flags, is already there"):
        output.choose(settings)


def test_folder_without_a_run_is_refused_under_resume_must(tmp_path):
    settings = settings_lib.Settings(output_dir=str(tmp_path), resume="must")
    with pytest.raises(ValueError, match="`--resume` needs a run to go on"):
        output.choose(settings)


def test_folder_with_another_run_names_every_flag_that_differs(tmp_path):
    settings = settings_lib.Settings(output_dir=str(tmp_path))
    output.create(output.choose(settings), settings)
    other = dataclasses.replace(settings, learning_rate=0.5, epochs=3)
    with pytest.raises(ValueError) as error:
        output.choose(other)
    assert "--learning_rate=<unset>, not --learning_rate=0.5" in str(
        error.value
    )
    assert "--epochs=30, not --epochs=3" in str(error.value)
    assert f"Received: --output_dir={tmp_path}" in str(error.value)


@pytest.mark.parametrize("name", output.NAMES[1:])
def test_folder_with_a_file_of_a_run_is_refused(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(ValueError, match=f"no other run's {name}"):
        output.choose(settings_lib.Settings(output_dir=str(tmp_path)))
    assert (tmp_path / name).read_text() == "mine"


def test_other_files_in_the_folder_are_no_obstacle(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    settings = settings_lib.Settings(output_dir=str(tmp_path))
    assert output.choose(settings) == output.Folder(tmp_path)


def test_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "a").write_text("mine")
    settings = settings_lib.Settings(output_dir=str(tmp_path / "a"))
    with pytest.raises(ValueError, match="must be a folder"):
        output.choose(settings)
    below = settings_lib.Settings(output_dir=str(tmp_path / "a" / "b"))
    with pytest.raises(ValueError, match="must be writable"):
        output.create(output.choose(below), below)


def test_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    output.write_text(path, "old")

    def torn(partial):
        partial.write_text("ne")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        output.replace(path, torn)
    assert path.read_text() == "old"
