#!/usr/bin/env python3
"""Trains with several processes on this machine.

It starts them, stops all when one fails, and starts them again from their last
checkpoint.
"""

import os
import subprocess
import sys
import time

import processes

USAGE = """\
usage: launch/multi_worker.py --workers=N --output_dir=DIR [OPTIONS]
         [FLAGS OF launch/train.sh]

Trains with --strategy=multi_worker in N processes on this machine, which share
its GPUs out. Worker 0, the chief, writes to stdout. On several machines
launch/slurm.sbatch, or whoever sets TF_CONFIG, starts one process on each.

--output_dir=DIR the run's folder, where a restart goes on
--restarts=R     how often to start again after a worker failed (default 3);
                 exit code 2, bad input, is final
--grace=SECONDS  from TERM to KILL (default 60)
--log_dir=DIR    of worker-0.log, worker-1.log, ... (default: logs in the
                 run's folder)

TERM, INT and HUP are passed on (HUP as TERM) to the workers, which save a
checkpoint; a second one kills them. The exit code is 0, 128 + the signal's
number, or that of the worker that failed first."""


def run_workers(group, options, attempt):
    """Starts all workers and waits until all have ended.

    Returns:
        Their exit codes other than 0, in the order in which they ended.
    """
    ports = processes.free_ports(options.workers)
    hosts = ",".join(f"localhost:{port}" for port in ports)
    command = [processes.ROOT / "launch" / "train.sh", *options.flags]
    command += ["--strategy=multi_worker", f"--worker_hosts={hosts}"]
    resume = ["--resume=auto"] if attempt else []
    logs = []
    for worker in range(options.workers):
        logs.append(options.log_dir / f"worker-{worker}.log")
        with logs[-1].open("a") as log:
            log.write(f"{options.program}: start {attempt + 1}, ")
            log.write(f"{time.ctime()}\n")
        group.start(
            worker,
            [*command, f"--task_index={worker}", *resume],
            logs[-1],
            is_shown=worker == 0,
            **options.gpus_of(worker),
        )
    codes = []
    while group.running:
        for worker, code in group.ended():
            if code and not codes and group.deadline is None:
                processes.say(
                    options.program,
                    f"worker {worker} failed with exit code {code}, see "
                    f"{logs[worker]}; stopping the others",
                )
                if worker:
                    lines = logs[worker].read_text(errors="replace")
                    print(*lines.splitlines()[-3:], sep="\n", file=sys.stderr)
                group.stop()
            codes += [code] if code else []
    return codes


def main(arguments):
    """Returns the exit code."""
    if arguments[:1] == ["--help"]:
        print(USAGE)
        return 0
    options = processes.read_options("multi_worker.py", arguments)
    # Here, once, and not in all workers at the same time.
    script = processes.ROOT / "launch" / "environment.sh"
    make = ["bash", "-c", 'source "$1"; ensure_environment', "multi_worker.py"]
    made = subprocess.run([*make, script])
    if made.returncode:
        return made.returncode
    # TensorFlow would prefer it to the flags.
    os.environ.pop("TF_CONFIG", None)
    options.log_dir.mkdir(parents=True, exist_ok=True)
    group = processes.Group(options.grace)
    for attempt in range(options.restarts + 1):
        if attempt:
            text = f"restart {attempt} of {options.restarts}"
            processes.say(options.program, text)
        group.deadline = None
        codes = run_workers(group, options, attempt)
        if not codes:
            return 0
        if group.signal:
            return 128 + group.signal
        if 2 in codes:
            return 2
    text = f"failed after {options.restarts} restarts"
    processes.say(options.program, text)
    return codes[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
