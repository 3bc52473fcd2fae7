"""Processes of their own for what ends, hangs or starts a cluster.

They are forked from one server in which TensorFlow is loaded but has not
touched a device, which saves several seconds each.
"""

import contextlib
import json
import multiprocessing
import os
import resource
import signal
import socket
import sys

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tfwd.training.runs.execution"])


def start(function, *arguments, log):
    """Starts function(*arguments) in a process, its output in a file.

    The process ends with what the function returns as exit code.
    """
    process = _CONTEXT.Process(
        target=_run, args=(function, arguments, str(log)), daemon=True
    )
    process.start()
    return process


def finish(process, seconds=120):
    """Waits for a process; returns its exit code, -N for a signal N."""
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        raise TimeoutError(f"The process did not end within {seconds} s")
    return process.exitcode


def train(arguments, cluster=None, largest_file=None):
    """Runs the binary; for `start`.

    Args:
        arguments: Its command line.
        cluster: A TF_CONFIG as a dict.
        largest_file: Bytes beyond which writing fails, as on a full disk.
    """
    if cluster is not None:
        os.environ["TF_CONFIG"] = json.dumps(cluster)
    if largest_file is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, -1))
    from tfwd import train as binary

    return binary.main(arguments)


def tune(arguments, environment):
    """Runs the binary of the search; for `start`.

    Args:
        arguments: Its command line.
        environment: Variables to set.
    """
    os.environ.update(environment)
    from tfwd import tune as binary

    return binary.main(arguments)


def search_environments(workers):
    """The variables of a search's chief and of its workers, at a free port."""
    with socket.socket() as each:
        each.bind(("127.0.0.1", 0))
        port = each.getsockname()[1]
    return [
        {
            "KERASTUNER_TUNER_ID": name,
            "KERASTUNER_ORACLE_IP": "127.0.0.1",
            "KERASTUNER_ORACLE_PORT": str(port),
        }
        for name in ("chief", *(f"tuner{index}" for index in range(workers)))
    ]


def clusters(workers):
    """The TF_CONFIG of each of `workers` processes, on free ports."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(workers)]
        for each in sockets:
            each.bind(("localhost", 0))
        hosts = [f"localhost:{each.getsockname()[1]}" for each in sockets]
    return [
        {
            "cluster": {"worker": hosts},
            "task": {"type": "worker", "index": index},
        }
        for index in range(workers)
    ]


def _run(function, arguments, log):
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    code = function(*arguments)
    sys.stdout.flush()
    sys.exit(code)
