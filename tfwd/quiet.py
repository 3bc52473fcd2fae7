"""TensorFlow imported without its reports on the machine.

`TF_CPP_MIN_LOG_LEVEL` says from which severity on it logs: 0 all, 1 warnings
and errors, 2 errors, 3 what ends the process. But while it is imported it logs
whatever that says; those lines are left out here, by the same measure.
"""

import contextlib
import os
import re
import signal
import sys

_VARIABLE = "TF_CPP_MIN_LOG_LEVEL"
_DEFAULT = "2"
_SEVERITIES = b"IWE"
# Logged as errors wherever there is no GPU, or several libraries register one.
_NO_ERROR = rb"failed call to cuInit|Unable to register cu\w+ factory"
# Of absl, "I0000 ", or of TensorFlow, "2026-11-30 08:00:00.000000: I ".
_HEAD = re.compile(rb"(?:\d{4}-\d\d-\d\d [\d:.]+: ([IWE])|([IWE])\d{4}) ")
_ABOUT_THE_LOG = (
    b"WARNING: All log messages before absl::InitializeLog",
    # The second line of one that names the CPU's instructions.
    b"To enable the following instructions:",
)


def import_tensorflow():
    """Imports TensorFlow and lets it look for devices; errors are shown.

    What it logs later is limited to errors, too, unless the environment says
    otherwise; the warnings of its Python modules are not.
    """
    level = os.environ.setdefault(_VARIABLE, _DEFAULT)
    is_loaded = "tensorflow" in sys.modules
    with contextlib.nullcontext() if is_loaded else without_reports(level):
        import tensorflow as tf

        # The first look says what there is not.
        tf.config.list_physical_devices()


@contextlib.contextmanager
def without_reports(level):
    """Leaves reports of TensorFlow out of what is written to stderr.

    Args:
        level: The value of `TF_CPP_MIN_LOG_LEVEL`.
    """
    if level not in ("1", "2", "3"):
        yield
        return
    sys.stderr.flush()
    stderr = os.dup(2)
    reading, writing = os.pipe()
    # A process, so that the last words of one that is ended are shown too.
    child = os.fork()
    if child == 0:
        _pass_on(reading, writing, stderr, int(level))
    os.close(reading)
    os.dup2(writing, 2)
    os.close(writing)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(stderr, 2)
        os.close(stderr)
        os.waitpid(child, 0)


def is_report(line, level):
    """Whether a line of bytes is a report below the level, 1 to 3."""
    if line.startswith(_ABOUT_THE_LOG):
        return True
    head = _HEAD.match(line)
    if head is None:
        return False
    severity = head[1] or head[2]
    return severity in _SEVERITIES[:level] or bool(re.search(_NO_ERROR, line))


def _pass_on(reading, writing, stderr, level):
    try:
        # Ctrl-C is for the process that imports, which ends this one.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.close(writing)
        with open(reading, "rb") as lines:
            for line in lines:
                if not is_report(line, level):
                    os.write(stderr, line)
    finally:
        os._exit(0)
