"""Who may write a run's folder: one process at a time."""

import contextlib
import datetime
import fcntl
import os
import socket
import warnings
import weakref

NAME = ".lock"


class HeldError(Exception):
    """Another process holds the folder; the message says which."""


class Lock:
    """Holds a folder until it is released, or the process ends in any way.

    It is a `flock` on a file in the folder, which goes with the process. A
    network file system that passes such locks on to its server keeps other
    hosts out too; where a file system has none, a warning says so.

    Args:
        folder: A `pathlib.Path` that exists.

    Raises:
        HeldError: Another process holds it, or this one a second time.
        OSError: The folder cannot be written.
    """

    def __init__(self, folder):
        self._path = folder / NAME
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            # Also when the lock is forgotten.
            self._close = weakref.finalize(self, os.close, descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.read(descriptor, 1000).decode(errors="replace")
                self._close()
                raise HeldError(holder.strip() or "another process") from None
            except OSError as error:
                warnings.warn(
                    f"{folder} has no locks ({error.strerror}): nothing keeps "
                    "a second run out of it",
                    stacklevel=2,
                )
                return
            if self._is_named(descriptor):
                break
            self._close()
        now = datetime.datetime.now()
        holder = (
            f"process {os.getpid()} on {socket.gethostname()}, since "
            f"{now:%Y-%m-%d %H:%M:%S}\n"
        )
        os.truncate(descriptor, 0)
        os.write(descriptor, holder.encode())

    def release(self):
        """Lets others have the folder; may be called again."""
        if self._close.alive:
            with contextlib.suppress(OSError):
                self._path.unlink()
            self._close()

    def _is_named(self, descriptor):
        """Whether what is locked is the file that others would open.

        The one before may have deleted it in between.
        """
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.stat())
        except FileNotFoundError:
            return False
