"""The folder of a run: chosen and checked first, made later."""

import dataclasses
import datetime
import itertools
import os
import pathlib

from tfwd import durable
from tfwd.training.config import flag_lines
from tfwd.training.config import paths
from tfwd.training.config import rules
from tfwd.training.runs import lock as lock_lib
from tfwd.training.runs import run_files


@dataclasses.dataclass(frozen=True)
class Folder:
    """The folder of a run.

    Attributes:
        path: A `pathlib.Path`.
        is_begun: Whether it holds this very run, if only its flags.
        is_complete: Whether that has come to its end.
        is_extended: Whether it holds this run with fewer epochs.
        lock: The `lock.Lock` that keeps other processes out; None before the
            folder is made, where nothing is left to write, and for workers
            that are not the chief.
    """

    path: pathlib.Path
    is_begun: bool = False
    is_complete: bool = False
    is_extended: bool = False
    lock: lock_lib.Lock | None = dataclasses.field(default=None, compare=False)

    @property
    def files(self):
        """The `run_files.Files` of the run."""
        return run_files.Files(self.path)

    def results(self):
        """The names of the files that tell of training, if there are any.

        Raises:
            ValueError: metrics.csv cannot be read.
        """
        try:
            return self.files.results()
        except OSError as error:
            rules.refuse(
                "output_dir",
                f"must have a readable {self.files.metrics.name} "
                f"({error.strerror})",
                self.path,
            )

    def release(self):
        """Lets other processes have the folder; may be called again."""
        if self.lock is not None:
            self.lock.release()


def choose(settings, now=None):
    """Chooses the run's folder without making it.

    Args:
        settings: `Settings`; without `output_dir` the folder is a fresh one,
            runs/<dataset>-<model>-<optimizer>-<timestamp>.
        now: `datetime.datetime` of the timestamp, now if `None`.

    Returns:
        A `Folder` that holds no run or, unless `--resume=never`, this one,
        which is locked if it is not complete.

    Raises:
        ValueError: The folder holds another run, or is no folder, or another
            process writes to it, or there is nothing to resume under
            `--resume=must`.
    """
    if settings.run.output_dir is None:
        return Folder(_fresh(settings, now or datetime.datetime.now()))
    path = paths.expanded("output_dir", settings.run.output_dir, "a folder")
    try:
        return _chosen(path, settings)
    except OSError as error:
        rules.refuse("output_dir", f"must be readable ({error.strerror})", path)


def of_this_run(path, settings):
    """The `Folder` at a path that is known to hold no other run.

    Raises:
        ValueError: Its final.keras cannot be read now.
    """
    if not run_files.Files(path).flags.exists():
        return Folder(path)
    is_extended = bool(flag_lines.differences(settings, _flags(path)))
    is_complete = not is_extended and _is_complete(path)
    return Folder(path, True, is_complete, is_extended)


def create(folder, settings):
    """Makes the folder, locks it and writes its flags.txt.

    Args:
        folder: What `choose` returned; one that is begun keeps its flags,
            unless its run is extended.
        settings: The `Settings`.

    Returns:
        The `Folder`, under the next number if the default one has been taken
        in the meantime.

    Raises:
        ValueError: The folder cannot be made or written, or another process
            has begun a run in it.
    """
    if not folder.is_extended and (folder.lock or folder.is_complete):
        return folder
    is_ours = settings.run.output_dir is None
    try:
        if folder.is_extended:
            return _extended(folder, settings)
        path = _claimed(folder.path) if is_ours else folder.path
        durable.make_folder(path)
        lock = locked(path)
        try:
            # Somebody may have been faster, and even be done.
            _check_no_other(path)
            _write_flags(path, settings)
        except BaseException:
            lock.release()
            raise
    except OSError as error:
        reason = error.strerror or error
        rules.refuse("output_dir", f"must be writable ({reason})", folder.path)
    return dataclasses.replace(folder, path=path, is_begun=True, lock=lock)


def _chosen(path, settings):
    if path.exists() and not path.is_dir():
        rules.refuse("output_dir", "must be a folder", path)
    if run_files.Files(path).flags.is_file():
        _check_same(settings, path)
        folder = of_this_run(path, settings)
        if folder.is_complete:
            return folder
        return dataclasses.replace(folder, lock=locked(path))
    _check_no_other(path)
    if settings.run.resume == "must":
        rules.refuse(
            "resume",
            f"needs a run to go on with in {path}",
            settings.run.resume,
        )
    return Folder(path)


def _extended(folder, settings):
    """Gives a run its larger number of epochs; it is no longer complete.

    In this order: a run without its final model goes on, whatever its flags.
    """
    files = folder.files
    if files.final_model.exists():
        os.replace(files.final_model, files.last_model)
        durable.sync_folder(folder.path)
    _write_flags(folder.path, settings)
    return dataclasses.replace(folder, is_extended=False)


def _write_flags(path, settings):
    text = "\n".join(flag_lines.lines(settings)) + "\n"
    durable.write_text(run_files.Files(path).flags, text)


def _claimed(path):
    """Makes a folder that nobody has made, under this name or the next."""
    durable.make_folder(path.parent)
    for count in itertools.count(1):
        one = path if count == 1 else path.with_name(f"{path.name}-{count}")
        try:
            one.mkdir()
        except FileExistsError:
            continue
        durable.sync_folder(one.parent)
        return one


def locked(path, noun="run"):
    """Returns the `lock.Lock` of a folder.

    Args:
        path: Its `pathlib.Path`.
        noun: What is in it, for the message.

    Raises:
        ValueError: Another process holds it, or it cannot be written.
    """
    try:
        return lock_lib.Lock(path)
    except lock_lib.HeldError as error:
        rules.refuse(
            "output_dir",
            f"must not be that of a {noun} that is going on, by {error}",
            path,
        )
    except OSError as error:
        rules.refuse("output_dir", f"must be writable ({error.strerror})", path)


def _check_no_other(path):
    found = run_files.Files(path).existing()
    if found:
        rules.refuse(
            "output_dir", f"must hold no other run's {found[0].name}", path
        )


def _is_complete(path):
    """Whether there is a final.keras of which every byte can be read."""
    files = run_files.Files(path)
    try:
        return files.has_final_model()
    except OSError as error:
        rules.refuse(
            "output_dir",
            f"must have a readable {files.final_model.name} ({error.strerror})",
            path,
        )


def _fresh(settings, now):
    name = "-".join(
        (
            settings.data.dataset,
            # A colon in a path would end it in lists of paths.
            settings.model.model.rpartition(":")[2],
            settings.optimizer.optimizer,
            now.strftime("%Y%m%d-%H%M%S"),
        )
    )
    return pathlib.Path("runs", name)


def _flags(path):
    """The lines of a run's flags.txt."""
    flags = run_files.Files(path).flags
    try:
        return flags.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        rules.refuse(
            "output_dir", f"must hold a readable {flags.name} ({error})", path
        )


def _check_same(settings, path):
    differences = flag_lines.differences(settings, _flags(path))
    if differences and not _only_extends(settings, differences):
        text = "; ".join(
            f"--{name}={there}, not --{name}={here}"
            for name, there, here in differences
        )
        rules.refuse(
            "output_dir",
            f"must be a new folder; it holds a run with {text}. When a run is "
            f"resumed, these may change: {', '.join(flag_lines.MAY_DIFFER)}; "
            "and epochs may grow where no schedule is cosine",
            path,
        )
    if settings.run.resume == "never":
        rules.refuse(
            "output_dir",
            "must be a new folder under --resume=never; this run, with the "
            "same flags, is already there",
            path,
        )


def _only_extends(settings, differences):
    """Whether the run there is the first part of this one."""
    (name, there, here), *others = differences
    return (
        not others
        and name == "epochs"
        and int(there) < int(here)
        and "cosine"
        not in (
            settings.schedule.schedule,
            settings.schedule.weight_decay_schedule,
        )
    )
