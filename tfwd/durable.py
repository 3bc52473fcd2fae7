"""Files that outlive a crash, of the process as of the machine.

A rename is all or nothing, but what a name holds is on disk only once it was
synced, and so is the name. The order is therefore: write beside, sync, rename,
sync the folder; and what is replaced goes last.
"""

import contextlib
import errno
import itertools
import os
import pathlib

# File systems that cannot sync a folder say so in one of these ways.
_CANNOT = (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES)


class WriteError(OSError):
    """A file could not be written; what was there is as it was."""


def write_text(path, text):
    """Writes a file in one piece: it is there whole, or not at all.

    Args:
        path: A `pathlib.Path`.
        text: What it holds afterwards, as UTF-8.

    Raises:
        WriteError: As `replace`.
    """
    replace(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def replace(path, write):
    """Lets `write` fill a file beside `path`, then moves it there.

    Args:
        path: A `pathlib.Path`.
        write: A function of the path that it writes to.

    Raises:
        WriteError: The disk is full or the folder cannot be written; one line
            that names `path`. Nothing is left beside it.
    """
    # The suffix is kept because writers go by it (.keras, .png).
    partial = path.with_name(f".partial-{path.name}")
    try:
        write(partial)
        sync(partial)
        os.replace(partial, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        if isinstance(error, OSError):
            raise WriteError(
                f"Cannot write {path} ({error.strerror or error})"
            ) from error
        raise
    sync_folder(path.parent)


def append(file, text):
    """Appends to an open text file; it is on disk afterwards.

    Raises:
        WriteError: The disk is full; one line that names the file.
    """
    try:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    except OSError as error:
        raise WriteError(
            f"Cannot write {file.name} ({error.strerror or error})"
        ) from error


def set_aside(path):
    """Renames a damaged file to the first <stem>.damaged-N<suffix> left.

    Args:
        path: A `pathlib.Path` that exists.

    Returns:
        The new path.
    """
    for number in itertools.count(1):
        aside = path.with_name(f"{path.stem}.damaged-{number}{path.suffix}")
        if not aside.exists():
            os.replace(path, aside)
            sync_folder(path.parent)
            return aside


def make_folder(path):
    """Makes a folder and those above it where they are missing."""
    path = pathlib.Path(path)
    missing = []
    for each in (path, *path.parents):
        if each.exists():
            break
        missing.append(each)
    path.mkdir(parents=True, exist_ok=True)
    for each in reversed(missing):
        sync_folder(each.parent)


def sync(path):
    """Waits until the content of a file is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path):
    """Waits until the names in a folder are on disk, where that can be asked.

    Raises:
        OSError: The disk failed.
    """
    try:
        sync(path)
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
