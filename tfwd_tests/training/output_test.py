"""The output folder: fresh by default, never another run's.

Covers `run_files`.
"""

import datetime
import errno
import os
import zipfile

import keras
import pytest

from tfwd.training.config import flagfile
from tfwd.training.config import settings as settings_lib
from tfwd.training.runs import output
from tfwd.training.runs import run_files

NOW = datetime.datetime(2024, 5, 6, 7, 8, 9)


def test_default_folder_tells_the_run_and_is_always_fresh(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    settings = settings_lib.Settings()
    # All are chosen in the same second, before any is made.
    chosen = [output.choose(settings, NOW) for _ in range(3)]
    assert not any(each.is_begun for each in chosen)
    assert not (tmp_path / "runs").exists()
    name = "runs/digits-mlp-adams-20240506-070809"
    assert [str(output.create(each, settings).path) for each in chosen] == [
        name,
        f"{name}-2",
        f"{name}-3",
    ]


def test_created_folder_replays_the_settings(tmp_path):
    settings = settings_lib.Settings(output_dir=str(tmp_path / "a" / "b"))
    folder = output.choose(settings)
    output.create(folder, settings)
    replayed = flagfile.parse([f"--flagfile={folder.path / 'flags.txt'}"])
    assert replayed == settings.replace(output_dir=None, weight_decay=5e-4)


def test_folder_with_the_same_run_is_that_run_and_keeps_its_flags(tmp_path):
    settings = settings_lib.Settings(output_dir=str(tmp_path))
    output.create(output.choose(settings), settings)
    other_way = settings.replace(checkpoint_every="5")
    begun = output.choose(other_way)
    assert begun == output.Folder(tmp_path, is_begun=True)
    before = (tmp_path / "flags.txt").read_bytes()
    assert output.create(begun, other_way) is begun
    assert (tmp_path / "flags.txt").read_bytes() == before


def write_model(path):
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(path)


def test_run_is_complete_when_its_final_model_can_be_read(tmp_path):
    settings = settings_lib.Settings(output_dir=str(tmp_path))
    output.create(output.choose(settings), settings)
    final = tmp_path / "final.keras"
    write_model(final)
    assert output.choose(settings).is_complete
    whole = final.read_bytes()
    for damaged in (b"", b"model", whole[:-40], whole[:200]):
        final.write_bytes(damaged)
        assert not output.choose(settings).is_complete
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    final.write_bytes(flipped)
    assert not output.choose(settings).is_complete
    with zipfile.ZipFile(final, "w") as archive:
        archive.writestr("config.json", "{}")
    assert not output.choose(settings).is_complete


def test_final_model_that_cannot_be_read_now_is_not_written_again(
    tmp_path, monkeypatch
):
    settings = settings_lib.Settings(output_dir=str(tmp_path))
    output.create(output.choose(settings), settings)
    write_model(tmp_path / "final.keras")

    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(zipfile, "ZipFile", fail)
    with pytest.raises(ValueError, match="final.keras .Input/output error"):
        output.choose(settings)


def test_folder_of_a_run_that_goes_on_is_refused(tmp_path):
    settings = settings_lib.Settings(output_dir=str(tmp_path / "a"))
    chosen = [output.choose(settings) for _ in range(2)]
    first = output.create(chosen[0], settings)
    holder = rf"going on, by process {os.getpid()} on .*, since "
    for again in (
        lambda: output.choose(settings),
        lambda: output.create(chosen[1], settings),
    ):
        with pytest.raises(ValueError, match=holder) as error:
            again()
        assert str(error.value).startswith("`--output_dir` must not be that ")
    first.release()
    # The first may even have come to its end in the meantime.
    with pytest.raises(ValueError, match="must hold no other run's flags.txt"):
        output.create(chosen[1], settings)
    output.choose(settings).release()


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
    other = settings.replace(learning_rate=0.5, epochs=3)
    with pytest.raises(ValueError) as error:
        output.choose(other)
    assert "--learning_rate=<unset>, not --learning_rate=0.5" in str(
        error.value
    )
    assert "--epochs=30, not --epochs=3" in str(error.value)
    assert f"Received: --output_dir={tmp_path}" in str(error.value)


@pytest.mark.parametrize("name", run_files.NAMES[1:])
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
