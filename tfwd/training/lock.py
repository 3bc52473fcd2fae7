"""Who may write a run's folder: one process at a time."""

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

    The file itself stays: if it were deleted, a process that has just opened
    it would hold a lock that nobody else sees.

    Args:
        folder: A `pathlib.Path` that exists.

    Attributes:
        release: A function that lets others have the folder; it may be called
            again.

    Raises:
        HeldError: Another process holds it, or this one a second time.
        OSError: The folder cannot be written.
    """

    def __init__(self, folder):
        descriptor = os.open(folder / NAME, os.O_RDWR | os.O_CREAT, 0o666)
        # Also when the lock is forgotten.
        self.release = weakref.finalize(self, os.close, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 1000).decode(errors="replace").strip()
            self.release()
            raise HeldError(holder or "another process") from None
        except OSError as error:
            warnings.warn(
                f"{folder} has no locks ({error.strerror}): nothing keeps a "
                "second run out of it",
                stacklevel=2,
            )
            return
        now = datetime.datetime.now()
        holder = (
            f"process {os.getpid()} on {socket.gethostname()}, since "
            f"{now:%Y-%m-%d %H:%M:%S}\n"
        )
        os.truncate(descriptor, 0)
        os.write(descriptor, holder.encode())
