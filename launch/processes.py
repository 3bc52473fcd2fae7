"""Processes of one machine that are started, told to stop and killed together.

Of the standard library alone, as it runs before the environment is made.
"""

import atexit
import dataclasses
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
PYTHON = ROOT / ".venv" / "bin" / "python"


def say(program, text):
    """Writes a line on stderr."""
    print(f"{program}: {text}", file=sys.stderr, flush=True)


@dataclasses.dataclass(frozen=True)
class Options:
    """What the launcher reads of the command line.

    Attributes:
        program: What the caller started, which its messages begin with.
        output_dir: The folder of the run or search.
        log_dir: The folder of the processes' logs.
        workers: How many there are.
        restarts: How often one may fail and be started again.
        grace: Seconds from TERM to KILL.
        flags: The arguments of the binary, `--output_dir` among them.
        gpus: Those that the workers share out.
    """

    program: str
    output_dir: pathlib.Path
    log_dir: pathlib.Path
    workers: int
    restarts: int
    grace: int
    flags: tuple
    gpus: tuple

    def gpus_of(self, worker):
        """Returns the variable by which a worker sees its share alone."""
        share = len(self.gpus) // self.workers
        mine = self.gpus[worker * share : (worker + 1) * share]
        return {"CUDA_VISIBLE_DEVICES": ",".join(mine)} if mine else {}


def read_options(program, arguments):
    """Returns the options; ends with one line and code 2 at a bad one."""
    given = {"workers": "", "restarts": "3", "grace": "60"}
    given.update(output_dir="", log_dir="")
    flags = []
    for argument in arguments:
        name, _, value = argument[2:].partition("=")
        if argument == f"--{name}={value}" and name in given:
            given[name] = value
        if name == "output_dir" or name not in given:
            flags.append(argument)

    def check(name, is_good, rule):
        if not is_good:
            received = f"--{name}={given[name]}"
            say(program, f"`--{name}` {rule}. Received: {received}")
            sys.exit(2)

    for name in ("restarts", "grace"):
        check(name, given[name].isdecimal(), "must be an integer, at least 0")
    workers = int(given["workers"]) if given["workers"].isdecimal() else 0
    check("workers", workers > 0, "must be an integer above 0")
    check(
        "output_dir", given["output_dir"], "must be given, as --output_dir=DIR"
    )
    gpus = visible_gpus()
    rule = f"must share {len(gpus)} GPUs out equally"
    check("workers", len(gpus) % workers == 0, rule)
    # As the binary reads it.
    output_dir = pathlib.Path(os.path.expanduser(given["output_dir"]))
    return Options(
        program,
        output_dir,
        pathlib.Path(given["log_dir"] or output_dir / "logs"),
        workers,
        int(given["restarts"]),
        int(given["grace"]),
        tuple(flags),
        tuple(gpus),
    )


def visible_gpus():
    """Returns the names of the GPUs of this machine that may be used."""
    gpus = []
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        gpus = list(filter(None, os.environ["CUDA_VISIBLE_DEVICES"].split(",")))
    elif shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
        listed = subprocess.run(query, stdout=subprocess.PIPE, text=True)
        # Without its lines about a driver or GPUs that it does not find.
        gpus = list(filter(str.isdecimal, listed.stdout.splitlines()))
    # CUDA's word for none.
    return [] if gpus[:1] == ["-1"] else gpus


def free_ports(count):
    """Returns so many ports of this machine."""
    # All are open at once, so that no two are the same.
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Group:
    """Processes by name, which end with this one.

    Each has a process group of its own: Ctrl-C reaches this process alone,
    which passes on what it is told.

    Attributes:
        running: {name: process}.
        signal: The first signal that this process was told, or None.
        deadline: When those that are told to stop are killed, or None.
    """

    def __init__(self, grace):
        self.running = {}
        self.signal = None
        self.deadline = None
        self._grace = grace
        self._is_hurried = False
        atexit.register(self._kill)
        for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            # Under nohup HUP stays ignored.
            if signal.getsignal(each) != signal.SIG_IGN:
                signal.signal(each, self._on_signal)

    def _on_signal(self, number, _):
        # The second one kills.
        self._is_hurried = self.signal is not None
        self.signal = self.signal or signal.Signals(number)

    def start(self, name, command, log=None, is_shown=True, **variables):
        """Starts a process.

        Args:
            name: Of the process.
            command: It and its arguments.
            log: The file that its output is added to, or None.
            is_shown: Whether the output is also, or only, that of this process.
            **variables: Of its environment, besides those of this process.
        """
        outputs = [None, None]
        if log and is_shown:
            for number, stream in enumerate((sys.stdout, sys.stderr)):
                outputs[number] = subprocess.Popen(
                    ["tee", "-a", log],
                    stdin=subprocess.PIPE,
                    stdout=stream,
                    start_new_session=True,
                ).stdin
        elif log:
            outputs = [log.open("ab")] * 2
        self.running[name] = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=outputs[0],
            stderr=outputs[1],
            env={**os.environ, **variables},
            start_new_session=True,
        )
        for each in filter(None, outputs):
            each.close()

    def stop(self, number=signal.SIGTERM):
        """Sends a signal, once, to each process alone.

        What a process has started may read on.
        """
        if self.deadline is None:
            self.deadline = time.monotonic() + self._grace
            for process in self.running.values():
                process.send_signal(number)

    def ended(self):
        """Waits a moment; returns (name, exit code) of each that has ended."""
        if self.signal:
            # The workers know no HUP.
            is_hup = self.signal == signal.SIGHUP
            self.stop(signal.SIGTERM if is_hup else self.signal)
        is_over = self.deadline and time.monotonic() >= self.deadline
        if is_over or self._is_hurried:
            self._kill()
        time.sleep(0.1)
        codes = {name: each.poll() for name, each in self.running.items()}
        ended = [each for each in codes.items() if each[1] is not None]
        for name, _ in ended:
            del self.running[name]
        # As a shell has it: 128 and the number of the signal that killed it.
        return [
            (name, code if code >= 0 else 128 - code) for name, code in ended
        ]

    def _kill(self):
        for process in self.running.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
