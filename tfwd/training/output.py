"""The folder of a run: chosen and checked first, made later."""

import dataclasses
import datetime
import os
import pathlib

from tfwd.training import flagfile
from tfwd.training import paths
from tfwd.training import rules

FLAGS = "flags.txt"
# What a run writes; a folder that holds any of it is not written to.
NAMES = (
    FLAGS,
    "run.json",
    "metrics.csv",
    "steps.csv",
    "curves.png",
    "diagnostics.csv",
    "mechanisms.png",
    "last.keras",
    "best.keras",
    "final.keras",
    "tensorboard",
    "checkpoints",
)


@dataclasses.dataclass(frozen=True)
class Folder:
    """The folder of a run.

    Attributes:
        path: A `pathlib.Path`.
        is_begun: Whether it holds this very run.
        is_complete: Whether that has come to its end.
    """

    path: pathlib.Path
    is_begun: bool = False
    is_complete: bool = False


def choose(settings, now=None):
    """Chooses the run's folder without making it.

    Args:
        settings: `Settings`; without `output_dir` the folder is a fresh one,
            runs/<dataset>-<model>-<optimizer>-<timestamp>.
        now: `datetime.datetime` of the timestamp, now if `None`.

    Returns:
        A `Folder` that holds no run or, unless `--resume=never`, this one.

    Raises:
        ValueError: The folder holds another run, or is no folder, or there is
            nothing to resume under `--resume=must`.
    """
    if settings.output_dir is None:
        return Folder(_fresh(settings, now or datetime.datetime.now()))
    path = paths.expanded("output_dir", settings.output_dir, "a folder")
    if path.exists() and not path.is_dir():
        rules.refuse("output_dir", "must be a folder", path)
    if (path / FLAGS).is_file():
        _check_same(settings, path)
        return of_this_run(path)
    found = [name for name in NAMES if (path / name).exists()]
    if found:
        rules.refuse("output_dir", f"must hold no other run's {found[0]}", path)
    if settings.resume == "must":
        rules.refuse(
            "resume", f"needs a run to go on with in {path}", settings.resume
        )
    return Folder(path)


def of_this_run(path):
    """The `Folder` at a path that is known to hold no other run."""
    return Folder(
        path, (path / FLAGS).exists(), (path / "final.keras").exists()
    )


def create(folder, settings):
    """Makes the folder and writes its flags.txt, unless the run is begun.

    Raises:
        ValueError: The folder cannot be made or written.
    """
    path = folder.path
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not folder.is_begun:
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


def _check_same(settings, path):
    try:
        lines = (path / FLAGS).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        rules.refuse(
            "output_dir", f"must hold a readable {FLAGS} ({error})", path
        )
    differences = [
        f"--{name}={there}, not --{name}={here}"
        for name, there, here in flagfile.differences(settings, lines)
    ]
    if differences:
        rules.refuse(
            "output_dir",
            f"must be a new folder; it holds a run with "
            f"{'; '.join(differences)}",
            path,
        )
    if settings.resume == "never":
        rules.refuse(
            "output_dir",
            "must be a new folder under --resume=never; this run, with the "
            "same flags, is already there",
            path,
        )
