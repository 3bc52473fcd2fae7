"""A file is on disk before it has its name, and the old one goes last."""

import contextlib
import errno
import os
import resource

import pytest

from tfwd import durable
from tfwd_tests import file_events


def test_content_is_on_disk_before_the_name_and_the_name_at_the_end(tmp_path):
    path = tmp_path / "a.txt"
    with file_events.recorded() as events:
        durable.write_text(path, "new")
    assert events == [
        ("sync", tmp_path / ".partial-a.txt"),
        ("rename", tmp_path / ".partial-a.txt", path),
        ("sync", tmp_path),
    ]
    assert path.read_text() == "new"


def test_appended_line_is_on_disk(tmp_path):
    with (tmp_path / "a").open("a") as file, file_events.recorded() as events:
        durable.append(file, "row\n")
        assert (tmp_path / "a").read_text() == "row\n"
    assert events == [("sync", tmp_path / "a")]


def test_new_folders_are_on_disk(tmp_path):
    with file_events.recorded() as events:
        durable.make_folder(tmp_path / "a" / "b")
        durable.make_folder(tmp_path / "a" / "b")
    assert events == [("sync", tmp_path), ("sync", tmp_path / "a")]


def test_folder_that_cannot_be_synced_is_no_obstacle(tmp_path, monkeypatch):
    def refuse(descriptor):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", refuse)
    durable.sync_folder(tmp_path)
    with pytest.raises(durable.WriteError, match=r"a \(Invalid argument\)"):
        durable.write_text(tmp_path / "a", "text")


@contextlib.contextmanager
def full_disk():
    """Python ignores SIGXFSZ, so writing fails with EFBIG."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_full_disk_names_the_file_and_leaves_the_old_one_alone(tmp_path):
    path = tmp_path / "a.txt"
    durable.write_text(path, "old")
    with full_disk(), pytest.raises(durable.WriteError) as error:
        durable.write_text(path, "longer than that")
    assert str(error.value) == f"Cannot write {path} (File too large)"
    assert [each.name for each in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text() == "old"


def test_full_disk_names_the_file_that_is_appended_to(tmp_path):
    path = tmp_path / "a.txt"
    with path.open("a") as file:
        with full_disk(), pytest.raises(durable.WriteError) as error:
            durable.append(file, "a long row\n")
    assert str(error.value) == f"Cannot write {path} (File too large)"


@pytest.mark.parametrize("kind", [KeyboardInterrupt, ValueError])
def test_write_that_ends_early_leaves_nothing(tmp_path, kind):
    def torn(partial):
        partial.write_text("ne")
        raise kind

    with pytest.raises(kind):
        durable.replace(tmp_path / "a.txt", torn)
    assert list(tmp_path.iterdir()) == []


def test_damaged_files_are_set_aside_each_under_its_own_name(tmp_path):
    for number in (1, 2):
        (tmp_path / "a.csv").write_text(str(number))
        aside = durable.set_aside(tmp_path / "a.csv")
        assert aside == tmp_path / f"a.damaged-{number}.csv"
    assert (tmp_path / "a.damaged-1.csv").read_text() == "1"
