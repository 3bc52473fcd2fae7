"""Ends a process whose steps have stopped, as when another worker died."""

import contextlib
import os
import threading
import time


def end_process(message):
    """Prints one line and leaves with exit code 1, past a hanging thread."""
    # Not `print`: the thread that hangs may hold the lock of the stream.
    with contextlib.suppress(OSError):
        os.write(2, f"{message}\n".encode())
    os._exit(1)


class Watchdog:
    """Calls `on_hang` once when there was no `beat` for too long.

    Entering the context is the first beat, so that the first step, which is
    compiled, has to end in time as well. What is no step and may take as long
    as it likes, such as a write to a slow disk, goes under `paused`.

        with watchdog.Watchdog(timeout_seconds=300) as dog:
            for _ in range(steps):
                step()
                dog.beat()
            with dog.paused():
                save()

    Args:
        timeout_seconds: The longest time between two beats; `None` watches
            nothing.
        on_hang: Gets the message, in a thread of its own.
    """

    def __init__(self, timeout_seconds, on_hang=end_process):
        self._timeout = timeout_seconds
        self._on_hang = on_hang
        self._last_beat = time.monotonic()
        self._pauses = 0
        self._done = threading.Event()
        self._thread = None

    def __enter__(self):
        self.beat()
        if self._timeout is not None:
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        if self._thread is not None:
            self._thread.join()

    def beat(self):
        """Notes that a step has finished."""
        self._last_beat = time.monotonic()

    @contextlib.contextmanager
    def paused(self):
        """A context without a time limit; pauses may be nested."""
        self._pauses += 1
        try:
            yield
        finally:
            # First the beat: the thread must not see an old one unpaused.
            self.beat()
            self._pauses -= 1

    def _watch(self):
        while not self._done.wait(self._remaining()):
            if self._remaining() <= 0:
                self._on_hang(
                    f"No step finished for {self._timeout:g} s "
                    "(--step_timeout): this or another worker hangs; the "
                    "checkpoints so far are complete"
                )
                return

    def _remaining(self):
        """Seconds until the beat is too late; while paused, all of them."""
        if self._pauses:
            return self._timeout
        return self._last_beat + self._timeout - time.monotonic()
