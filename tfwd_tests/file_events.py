"""What happens to files, in the order in which it happens."""

import contextlib
import os
import pathlib
from unittest import mock


@contextlib.contextmanager
def recorded():
    """Records syncs, renames and deletions while the context is open.

    Yields:
        A list of ("sync", path), ("rename", from, to) and ("delete", path).
        A rename of a file fails the test unless its content of then was
        synced.
    """
    events, synced = [], {}
    sync, rename, delete = os.fsync, os.replace, os.unlink

    def state(path):
        found = os.stat(path)
        return found.st_ino, found.st_size, found.st_mtime_ns

    def recorded_sync(descriptor):
        sync(descriptor)
        path = pathlib.Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        synced[path] = state(path)
        events.append(("sync", path))

    def recorded_rename(source, target):
        source, target = (pathlib.Path(p).absolute() for p in (source, target))
        assert synced.get(source) == state(source), f"{source} is not on disk"
        rename(source, target)
        events.append(("rename", source, target))

    def recorded_delete(path, **arguments):
        delete(path, **arguments)
        # What is relative to an open folder is a temporary tree's.
        if not arguments.get("dir_fd"):
            events.append(("delete", pathlib.Path(path).absolute()))

    with (
        mock.patch.object(os, "fsync", recorded_sync),
        mock.patch.object(os, "replace", recorded_rename),
        mock.patch.object(os, "unlink", recorded_delete),
    ):
        yield events
