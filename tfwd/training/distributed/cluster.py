"""The processes that train together: TF_CONFIG, given or made from flags."""

import collections
import dataclasses
import json
import os
import re
import warnings

from tfwd.training.config import rules
from tfwd.training.config import usage

WHY_NO_PARAMETER_SERVER = (
    "Keras 3 cannot train on parameter servers, and updates there are "
    "asynchronous, so that a mean of v over the model would be of no step"
)
_SHAPE = (
    'must be {"cluster": {"worker": ["host:port", ...]}, '
    '"task": {"type": "worker", "index": 0}}'
)
_HOST = re.compile(r"(?:[^\s:/,@\[\]]+|\[[0-9a-fA-F:.]+\]):([0-9]{1,5})")


@dataclasses.dataclass(frozen=True)
class Cluster:
    """All processes of a run, and which of them this one is.

    Args:
        hosts: host:port of every process, the chief first.
        index: This process' place in `hosts`.
    """

    hosts: tuple[str, ...]
    index: int

    @property
    def size(self):
        """The number of processes."""
        return len(self.hosts)

    @property
    def is_chief(self):
        """Whether this process is the one that writes the run's files."""
        return self.index == 0


def configure(worker_hosts=(), task_index=None):
    """Finds the cluster of this process and leaves it in TF_CONFIG.

    A TF_CONFIG that is there wins, because whoever started the processes (a
    cluster manager) wrote it; a line on stdout tells if the flags differ.

    Args:
        worker_hosts: host:port of every process, the chief first.
        task_index: This process' place in `worker_hosts`.

    Returns:
        A `Cluster`.

    Raises:
        ValueError: TF_CONFIG is malformed or asks for what cannot be had, or
            it is not there and the flags do not describe a cluster.
    """
    text = os.environ.get("TF_CONFIG", "").strip()
    if text:
        cluster = parse(text)
        if worker_hosts and cluster != Cluster(tuple(worker_hosts), task_index):
            # A warning, as it is asked for twice and told once.
            warnings.warn(
                "TF_CONFIG wins over --worker_hosts and --task_index: worker "
                f"{cluster.index} of {','.join(cluster.hosts)}",
                stacklevel=2,
            )
        return cluster
    cluster = _from_flags(tuple(worker_hosts), task_index)
    os.environ["TF_CONFIG"] = json.dumps(
        {
            "cluster": {"worker": cluster.hosts},
            "task": {"type": "worker", "index": cluster.index},
        }
    )
    return cluster


def parse(text):
    """Reads a TF_CONFIG of workers, the first of which may be a "chief".

    Keys beside "cluster" and "task" are ignored, as TensorFlow does.

    Args:
        text: JSON.

    Returns:
        A `Cluster`.

    Raises:
        ValueError: One line that tells the rule which `text` breaks.
    """
    try:
        config = json.loads(text)
    except ValueError as error:
        _refuse(f"must be JSON ({error})", text)
    parts = config if isinstance(config, dict) else {}
    jobs, task = parts.get("cluster"), parts.get("task")
    if not jobs or not isinstance(jobs, dict) or not isinstance(task, dict):
        _refuse(_SHAPE, text)
    kind, index = task.get("type"), task.get("index")
    if not isinstance(kind, str):
        _refuse(_SHAPE, text)
    _check_jobs({*jobs, kind}, text)
    for hosts in jobs.values():
        if not isinstance(hosts, list) or not hosts:
            _refuse(_SHAPE, text)
    chiefs, workers = jobs.get("chief", []), jobs.get("worker", [])
    if len(chiefs) > 1:
        _refuse("must hold at most one chief", text)
    fault = _fault_of_hosts([*chiefs, *workers])
    if fault:
        _refuse(fault, text)
    if kind not in jobs:
        _refuse("must hold the task's type among the jobs of the cluster", text)
    if type(index) is not int or not 0 <= index < len(jobs[kind]):
        _refuse(
            f"must hold a task index in [0, {len(jobs[kind])}), the number of "
            f"{kind} hosts",
            text,
        )
    first = len(chiefs) if kind == "worker" else 0
    return Cluster((*chiefs, *workers), first + index)


def _check_jobs(names, text):
    if "ps" in names:
        _refuse(f"must hold no ps: {WHY_NO_PARAMETER_SERVER}", text)
    if "evaluator" in names:
        _refuse("must hold no evaluator: the workers evaluate", text)
    if names - {"chief", "worker"}:
        _refuse("must hold no jobs but chief and worker", text)


def _from_flags(hosts, index):
    if not hosts:
        rules.refuse(
            "worker_hosts",
            "is needed by --strategy=multi_worker where TF_CONFIG is not set",
            None,
        )
    fault = _fault_of_hosts(hosts)
    if fault:
        rules.refuse("worker_hosts", fault, ",".join(hosts))
    if index is None or not 0 <= index < len(hosts):
        rules.refuse(
            "task_index",
            f"must be in [0, {len(hosts)}), the number of --worker_hosts",
            index,
        )
    return Cluster(hosts, index)


def _fault_of_hosts(hosts):
    """The rule that a list of hosts breaks, or `None`."""
    for host in hosts:
        match = _HOST.fullmatch(host) if isinstance(host, str) else None
        if not match or not 0 < int(match[1]) < 2**16:
            return f"must hold host:port everywhere, not {host!r}"
    host, count = collections.Counter(hosts).most_common(1)[0]
    if count > 1:
        return f"must hold every host:port once, not {host} {count} times"
    return None


def _refuse(rule, text):
    received = " ".join(text.split())
    raise usage.UsageError(
        f"`TF_CONFIG` {rule}. Received: TF_CONFIG={received}"
    )
