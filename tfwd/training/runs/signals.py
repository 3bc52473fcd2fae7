"""SIGTERM, SIGINT and SIGHUP as a request to stop after the running step."""

import contextlib
import os
import signal
import threading

NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_LEFT_ALONE = (signal.SIGHUP, signal.SIG_IGN)


class StopRequest:
    """Remembers the first of these signals while the context is open.

    A second one of the same kind ends the process at once: by a handler that
    the program has set itself, and otherwise as the system does, without the
    traceback of a KeyboardInterrupt. SIGHUP stays ignored where it is, as
    under nohup. Elsewhere than in the main thread, where Python allows no
    handlers, the context does nothing.

        with signals.StopRequest() as stop:
            while stop.number is None: ...
        sys.exit(stop.exit_code)

    Attributes:
        number: The first signal, `None` before there was one.
    """

    def __init__(self):
        self.number = None
        self._seen = set()
        self._previous = {}

    @property
    def exit_code(self):
        """128 + the signal, as a shell reports it; `None` without one."""
        return None if self.number is None else 128 + self.number

    @property
    def name(self):
        """The signal's name, e.g. SIGTERM; `None` without one."""
        return None if self.number is None else signal.Signals(self.number).name

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for number in NUMBERS:
                if (number, signal.getsignal(number)) == _LEFT_ALONE:
                    continue
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_):
        for number, previous in self._previous.items():
            # None is a handler that Python did not install and cannot restore.
            signal.signal(number, previous or signal.SIG_DFL)

    def _handle(self, number, frame):
        if number in self._seen:
            self._end(number, frame)
            return
        self._seen.add(number)
        if self.number is None:
            self.number = int(number)
            # Not `print`, which must not be entered again from a handler; and
            # a closed terminal is no reason not to save.
            with contextlib.suppress(OSError):
                os.write(
                    2, f"{self.name} received: saving a checkpoint\n".encode()
                )

    def _end(self, number, frame):
        previous = self._previous[number]
        if callable(previous) and previous is not signal.default_int_handler:
            previous(number, frame)
        else:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
