"""A signal asks for a stop after the step; a second one ends at once."""

import signal
import subprocess
import sys
import threading

import pytest

from tfwd.training.runs import signals

# The module alone, without the seconds that importing TensorFlow takes.
PROGRAM = """
import importlib.util, signal, sys, time

spec = importlib.util.spec_from_file_location("signals", sys.argv[1])
signals = importlib.util.module_from_spec(spec)
spec.loader.exec_module(signals)
# Python itself may have started with it ignored.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
if sys.argv[2] == "ignored":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
if sys.argv[2] == "nohup":
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
with signals.StopRequest() as stop:
    print("ready", flush=True)
    while stop.number is None or sys.argv[2] == "endless":
        time.sleep(0.01)
print("saved", flush=True)
sys.exit(stop.exit_code)
"""


def started(kind):
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, signals.__file__, kind],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize(
    ("number", "name", "code"),
    [
        (signal.SIGTERM, "SIGTERM", 143),
        (signal.SIGINT, "SIGINT", 130),
        (signal.SIGHUP, "SIGHUP", 129),
    ],
)
@pytest.mark.parametrize("kind", ["plain", "ignored"])
def test_signal_ends_in_order_with_the_exit_code_of_a_shell(
    number, name, code, kind
):
    process = started(kind)
    process.send_signal(number)
    out, err = process.communicate()
    assert out == "saved\n"
    assert err == f"{name} received: saving a checkpoint\n"
    assert process.returncode == code


@pytest.mark.parametrize("number", signals.NUMBERS)
def test_second_signal_of_the_same_kind_ends_at_once(number):
    process = started("endless")
    process.send_signal(number)
    assert "received" in process.stderr.readline()
    process.send_signal(number)
    out, err = process.communicate()
    assert (out, err) == ("", "")
    assert process.returncode == -number


def test_ignored_hang_up_stays_ignored():
    process = started("nohup")
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    assert process.communicate() == (
        "saved\n",
        "SIGTERM received: saving a checkpoint\n",
    )


def test_second_signal_reaches_the_handler_from_before():
    reached = []
    before = signal.signal(signal.SIGTERM, lambda *given: reached.append(given))
    try:
        with signals.StopRequest() as stop:
            signal.raise_signal(signal.SIGTERM)
            assert (stop.number, reached) == (signal.SIGTERM, [])
            signal.raise_signal(signal.SIGTERM)
            assert reached[0][0] == signal.SIGTERM
    finally:
        signal.signal(signal.SIGTERM, before)


def test_first_of_two_kinds_of_signal_decides():
    with signals.StopRequest() as stop:
        assert (stop.exit_code, stop.name) == (None, None)
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
    assert (stop.number, stop.name, stop.exit_code) == (2, "SIGINT", 130)


def test_handlers_are_as_before_after_the_context():
    before = [signal.getsignal(number) for number in signals.NUMBERS]
    with pytest.raises(KeyError), signals.StopRequest():
        assert before != [signal.getsignal(n) for n in signals.NUMBERS]
        raise KeyError
    assert before == [signal.getsignal(n) for n in signals.NUMBERS]


def test_other_threads_leave_the_handlers_alone():
    before = [signal.getsignal(number) for number in signals.NUMBERS]
    inside = []

    def run():
        with signals.StopRequest() as stop:
            inside.extend(signal.getsignal(n) for n in signals.NUMBERS)
            inside.append(stop.number)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert inside == [*before, None]
