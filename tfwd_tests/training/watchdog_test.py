"""The watchdog fires when beats stop, and only then.

Its clock stands still but for `pass_time`, so that a busy machine changes
nothing; real time only lets its thread look.
"""

import queue
import subprocess
import sys
import threading
import time
import types

import pytest

from tfwd.training.distributed import watchdog

TIMEOUT = 0.02


@pytest.fixture
def pass_time(monkeypatch):
    now = [1000.0]
    clock = types.SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr(watchdog, "time", clock)

    def advance(seconds):
        now[0] += seconds
        time.sleep(2 * TIMEOUT)

    return advance


def test_missing_beat_is_reported_once_with_the_limit(pass_time):
    reports = queue.Queue()
    with watchdog.Watchdog(TIMEOUT, reports.put):
        pass_time(2 * TIMEOUT)
        message = reports.get(timeout=60)
        pass_time(2 * TIMEOUT)
    assert message.startswith("No step finished for 0.02 s (--step_timeout)")
    assert "\n" not in message
    assert reports.empty()


def test_beats_in_time_keep_it_quiet_however_long(pass_time):
    reports = queue.Queue()
    with watchdog.Watchdog(TIMEOUT, reports.put) as dog:
        for _ in range(5):
            pass_time(0.9 * TIMEOUT)
            dog.beat()
    assert reports.empty()


def test_nothing_is_late_while_paused_and_the_time_starts_anew(pass_time):
    reports = queue.Queue()
    with watchdog.Watchdog(TIMEOUT, reports.put) as dog:
        with dog.paused():
            with dog.paused():
                pass_time(100)
            pass_time(100)
        pass_time(0.9 * TIMEOUT)
        assert reports.empty()
        pass_time(0.2 * TIMEOUT)
        assert reports.get(timeout=60)


def test_error_under_a_pause_ends_the_pause(pass_time):
    reports = queue.Queue()
    with watchdog.Watchdog(TIMEOUT, reports.put) as dog:
        with pytest.raises(KeyError), dog.paused():
            raise KeyError
        pass_time(2 * TIMEOUT)
        assert reports.get(timeout=60)


def test_no_timeout_means_no_thread():
    before = threading.active_count()
    with watchdog.Watchdog(None) as dog:
        dog.beat()
        with dog.paused():
            assert threading.active_count() == before


def test_thread_ends_with_the_context():
    before = threading.active_count()
    with watchdog.Watchdog(3600):
        assert threading.active_count() == before + 1
    assert threading.active_count() == before


def test_process_that_hangs_says_so_and_exits_with_1():
    # The module alone, without the seconds that importing TensorFlow takes.
    program = (
        "import importlib.util, sys, time\n"
        "s = importlib.util.spec_from_file_location('watchdog', sys.argv[1])\n"
        "watchdog = importlib.util.module_from_spec(s)\n"
        "s.loader.exec_module(watchdog)\n"
        "with watchdog.Watchdog(0.01):\n"
        "    time.sleep(3600)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, watchdog.__file__],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("No step finished for 0.01 s")
    assert done.stderr.count("\n") == 1
