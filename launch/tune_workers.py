"""Searches with several processes on this machine; `launch/tune.sh` runs it.

A chief hands the trials out and the workers train them. One that fails is
started again and goes on.
"""

import collections
import os
import sys
import time

import processes

CHIEF = "chief"


class Search:
    """A chief and its workers, `tuner0`, `tuner1`, ..."""

    def __init__(self, options):
        self.options = options
        self.group = processes.Group(options.grace)
        self.restarts = collections.Counter()
        # Whether the first has heard from the chief that the search is over.
        self.is_over = False
        self.code = 0

    def start(self, name):
        """Starts the chief or a worker."""
        command = [processes.PYTHON, "-m", "tfwd.tune", *self.options.flags]
        if name == CHIEF:
            # Its GPUs are those of worker 0 too, which has ended when it needs
            # them.
            share = self.options.gpus_of(0) | {
                "TF_FORCE_GPU_ALLOW_GROWTH": "true"
            }
            log = None
        else:
            share = self.options.gpus_of(int(name[len("tuner") :]))
            log = self.log_of(name)
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("a") as file:
                file.write(f"tune.sh: start of {name}, {time.ctime()}\n")
        self.group.start(
            name,
            command,
            log,
            is_shown=name == CHIEF,
            KERASTUNER_TUNER_ID=name,
            **share,
        )

    def log_of(self, name):
        """Returns the path of a worker's log."""
        return self.options.log_dir / f"{name}.log"

    def after(self, name, code):
        """Does what the end of a process asks for."""
        if code == 0:
            # A worker ends well after the chief has told it that the search is
            # over; nobody would answer one that has not heard of it yet.
            self.is_over = True
            if name == CHIEF:
                self.group.stop()
            return
        if self.group.deadline is not None or (self.is_over and name != CHIEF):
            return
        log = "" if name == CHIEF else f", see {self.log_of(name)}"
        limit = self.options.restarts
        if code != 2 and self.restarts[name] < limit:
            self.restarts[name] += 1
            processes.say(
                "tune.sh",
                f"{name} ended with exit code {code}{log}; restart "
                f"{self.restarts[name]} of {limit}",
            )
            self.start(name)
            return
        self.code = code
        text = f"{name} failed with exit code {code}{log}; stopping all"
        processes.say("tune.sh", text)
        self.group.stop()

    def run(self):
        """Returns the exit code."""
        self.start(CHIEF)
        waiting = [f"tuner{index}" for index in range(self.options.workers)]
        while self.group.running:
            for ended in self.group.ended():
                self.after(*ended)
            # What the chief refuses no worker need tell again.
            is_ready = (self.options.output_dir / "oracle.json").exists()
            if is_ready and self.group.deadline is None:
                for name in waiting:
                    self.start(name)
                waiting = []
        return 128 + self.group.signal if self.group.signal else self.code


if __name__ == "__main__":
    os.environ["KERASTUNER_ORACLE_IP"] = "127.0.0.1"
    os.environ["KERASTUNER_ORACLE_PORT"] = str(processes.free_ports(1)[0])
    sys.exit(Search(processes.read_options("tune.sh", sys.argv[1:])).run())
