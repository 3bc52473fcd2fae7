"""The picture of a run."""

from tfwd.training.config import columns
from tfwd.training.runs import curves


def row(epoch, **values):
    return dict.fromkeys(columns.COLUMNS) | {"epoch": epoch} | values


def test_png_is_drawn_without_validation_and_from_one_epoch(tmp_path):
    path = tmp_path / "curves.png"
    curves.draw([row(1, train_loss=1.0, test_loss=2.0)], "title", path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_more_rows_change_the_picture(tmp_path):
    paths = [tmp_path / "1.png", tmp_path / "2.png"]
    rows = [row(1, train_loss=1.0), row(2, train_loss=0.5)]
    for count, path in enumerate(paths, start=1):
        curves.draw(rows[:count], "title", path)
    assert paths[0].read_bytes() != paths[1].read_bytes()
