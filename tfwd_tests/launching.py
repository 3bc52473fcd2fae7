"""The launch scripts in a copy whose `.venv/bin/python` plays its part."""

import collections
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).parents[1]
# What the scripts read, and no test has of its caller.
OTHERS = ("TF_CONFIG", "CUDA_VISIBLE_DEVICES", "PRECISION", "XLA")
# In place of `python -m tfwd.train` or `tfwd.tune` it writes its arguments and
# environment down and does what PLAN, {worker: [what at the 1st start, ...]},
# says. Those of a search go by their KERASTUNER_TUNER_ID.
PYTHON = f"""#!{sys.executable} -IS
import json, os, pathlib, signal, sys, time

if sys.argv[1:3] == ["-m", "pip"]:
    sys.exit(0)
if sys.argv[1] == "-c":
    print(os.environ["GPUS"])
    sys.exit(0)
if sys.argv[1:3] not in (["-m", "tfwd.train"], ["-m", "tfwd.tune"]):
    os.execv({sys.executable!r}, [{sys.executable!r}, *sys.argv[1:]])

arguments = sys.argv[3:]
worker = os.environ.get("KERASTUNER_TUNER_ID", "0")
for argument in arguments:
    if argument.startswith("--flagfile=/dev/fd"):
        path = pathlib.Path(argument.partition("=")[2])
        arguments += path.read_text().split()
    if argument.startswith("--task_index="):
        worker = argument.partition("=")[2]
    if argument.startswith("--output_dir=") and worker == "chief":
        folder = pathlib.Path(argument.partition("=")[2]).expanduser()
records = pathlib.Path(os.environ["RECORDS"])
environment = dict(os.environ)
record = {{"flags": arguments, "environment": environment, "pid": os.getpid()}}
start = len(list(records.glob(worker + ".*.json")))
plans = json.loads(os.environ.get("PLAN", "{{}}"))
plan = plans.get(worker, [])
action = plan[start] if start < len(plan) else 0

def write(**more):
    path = records / (worker + "." + str(start) + ".json")
    path.with_suffix(".part").write_text(json.dumps({{**record, **more}}))
    path.with_suffix(".part").rename(path)

def stop(number, frame):
    write(signal=number)
    if action != "ignore signals":
        os._exit(128 + number)

for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, stop)
write()
print("worker", worker, "speaks", flush=True)
if worker == "chief" and action not in (2, "wait unready"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "oracle.json").touch()
if action == "last":
    # The search is over where all plans of the others are.
    for name, actions in plans.items():
        path = records / f"{{name}}.{{len(actions) - 1}}.json"
        while name != worker and not path.exists():
            time.sleep(0.02)
    sys.exit(0)
if str(action).startswith("later"):
    time.sleep(3)
    sys.exit(int(action[5:] or 0))
if action == 0:
    sys.exit(0)
if isinstance(action, int):
    # Not before the others can be seen to be stopped.
    others = [
        records / f"{{name}}.{{start}}.json"
        for name, actions in plans.items()
        if start < len(actions)
    ]
    while not all(each.exists() for each in others):
        time.sleep(0.02)
    sys.exit(action)
time.sleep(60)
"""


def copy_to(root):
    """Copies the scripts; the environment there counts as installed."""
    shutil.copytree(ROOT / "launch", root / "launch")
    for name in ("requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, root)
    python = root / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(PYTHON)
    python.chmod(0o755)
    subprocess.run(
        ["bash", "-c", "source launch/environment.sh; ensure_environment"],
        cwd=root,
        check=True,
    )
    return root


# Fixtures, which a test file has as its own where it names them.
@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return copy_to(tmp_path_factory.mktemp("check out"))


@pytest.fixture
def launcher(root, tmp_path):
    return Launcher(root, tmp_path)


class Launcher:
    """Runs the scripts of `root`; their workers write down what they got."""

    def __init__(self, root, folder):
        self.root = root
        self.folder = folder
        self.records = folder / "records"
        self.commands = folder / "bin"
        self.records.mkdir()
        self.commands.mkdir()
        self.environment = {
            **os.environ,
            "PATH": f"{self.commands}:{os.environ['PATH']}",
            "RECORDS": str(self.records),
        }
        for name in list(self.environment):
            if name in OTHERS or name.startswith("KERASTUNER_"):
                del self.environment[name]

    def add(self, name, text):
        """Makes a command, before all others on PATH."""
        path = self.commands / name
        path.write_text(text)
        path.chmod(0o755)

    def start(self, script, *flags, plan=None, **environment):
        return subprocess.Popen(
            [
                # A shell passes on what was ignored where the tests began,
                # as under nohup, and cannot trap it.
                *("env", "--default-signal=INT,HUP"),
                self.root / "launch" / script,
                *flags,
            ],
            cwd=self.folder,
            env={
                **self.environment,
                "PLAN": json.dumps(plan or {}),
                **environment,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments, **environment):
        process = self.start(*arguments, **environment)
        out, err = process.communicate(timeout=30)
        return process.returncode, out, err

    def signalled(self, *arguments, plan, signals):
        """Starts a script; returns its exit code and stderr after signals.

        The first is sent when all processes of the plan have started, the
        second when they have written down that they got the first.
        """
        process = self.start(*arguments, plan=plan)
        self.wait_for_workers(*plan)
        for number, each in enumerate(signals):
            while number and not all(
                "signal" in self.record(name) for name in plan
            ):
                time.sleep(0.05)
            process.send_signal(signal.Signals[each])
        _, err = process.communicate(timeout=20)
        return process.returncode, err

    def gpus_seen(self, *arguments, visible, plan):
        """Returns the environments of a plan's processes, beside four GPUs.

        Args:
            visible: CUDA_VISIBLE_DEVICES, or None.
        """
        self.add("nvidia-smi", "#!/bin/bash\nprintf '%s\\n' 0 1 2 3\n")
        given = {"CUDA_VISIBLE_DEVICES": visible} if visible else {}
        assert self.run(*arguments, plan=plan, **given)[0] == 0
        return [self.record(name)["environment"] for name in plan]

    def record(self, worker=0, start=0):
        path = self.records / f"{worker}.{start}.json"
        return json.loads(path.read_text()) if path.exists() else None

    def flags(self, worker=0, start=0):
        return self.record(worker, start)["flags"]

    def starts(self):
        """{worker: how often it was started}."""
        return collections.Counter(
            path.name.partition(".")[0] for path in self.records.glob("*.json")
        )

    def wait_for_workers(self, *workers):
        end = time.monotonic() + 20
        while not all(self.record(each) for each in workers):
            assert time.monotonic() < end, "the workers did not start"
            time.sleep(0.05)


def value(flags, name):
    """The value of the flag, which is there once."""
    (result,) = (
        flag.partition("=")[2]
        for flag in flags
        if flag.startswith(f"--{name}=")
    )
    return result
