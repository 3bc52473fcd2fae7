"""The folder of a run: chosen and checked first, made later."""

import datetime
import os
import pathlib

from tfwd.training import flagfile
from tfwd.training import rules

FLAGS = "flags.txt"
# What a run writes; a folder that holds any of it is not written to.
NAMES = (
    FLAGS,
    "run.json",
    "metrics.csv",
    "curves.png",
    "last.keras",
    "best.keras",
    "final.keras",
    "tensorboard",
)


def choose(settings, now=None):
    """Chooses the run's folder without making it.

    Args:
        settings: `Settings`; without `output_dir` the folder is a fresh one,
            runs/<dataset>-<model>-<optimizer>-<timestamp>.
        now: `datetime.datetime` of the timestamp, now if `None`.

    Returns:
        A `pathlib.Path` that holds no run.

    Raises:
        ValueError: The folder holds a run already, or is no folder.
    """
    if settings.output_dir is None:
        return _fresh(settings, now or datetime.datetime.now())
    path = pathlib.Path(settings.output_dir).expanduser()
    if path.exists() and not path.is_dir():
        rules.refuse("output_dir", "must be a folder", path)
    if (path / FLAGS).is_file():
        _refuse_run(settings, path)
    found = [name for name in NAMES if (path / name).exists()]
    if found:
        rules.refuse("output_dir", f"must hold no other run's {found[0]}", path)
    return path


def create(path, settings):
    """Makes the folder and writes its flags.txt.

    Raises:
        ValueError: The folder cannot be made or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        text = "\n".join(flagfile.lines(settings)) + "\n"
        write_text(path / FLAGS, text)
    except OSError as error:
        rules.refuse("output_dir", f"must be writable ({error.strerror})", path)


def write_text(path, text):
    """Writes a file in one piece: it is there whole, or not at all."""
    replace(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def replace(path, write):
    """Lets `write` fill a file beside `path`, then moves it there."""
    # The suffix is kept because writers go by it (.keras, .png).
    partial = path.with_name(f".partial-{path.name}")
    write(partial)
    os.replace(partial, path)


def _fresh(settings, now):
    name = "-".join(
        (
            settings.dataset,
            settings.model,
            settings.optimizer,
            now.strftime("%Y%m%d-%H%M%S"),
        )
    )
    path = pathlib.Path("runs", name)
    count = 1
    while path.exists():
        count += 1
        path = pathlib.Path("runs", f"{name}-{count}")
    return path


def _refuse_run(settings, path):
    lines = (path / FLAGS).read_text(encoding="utf-8").splitlines()
    difference = flagfile.first_difference(settings, lines)
    if difference is None:
        rules.refuse(
            "output_dir",
            "must be a new folder; this run, with the same flags, is already "
            "there",
            path,
        )
    name, there, here = difference
    rules.refuse(
        "output_dir",
        f"must be a new folder; it holds a run with --{name}={there}, not "
        f"--{name}={here}",
        path,
    )
