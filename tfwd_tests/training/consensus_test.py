"""Workers decide as one: what any of them wants, and the chief's numbers."""

import json
import os
import pathlib

import pytest
import tensorflow as tf

from tfwd.training.config import settings as settings_lib
from tfwd.training.distributed import consensus
from tfwd.training.distributed import strategy as strategy_lib
from tfwd_tests.training import looping
from tfwd_tests.training import processes


@pytest.mark.parametrize("replicas", [1, 2])
def test_single_process_agrees_with_itself(replicas):
    alone = consensus.Consensus(looping.mirrored(replicas))
    assert alone.any(True, False) == (True, False)
    assert alone.of_chief(2**40 + 1) == 2**40 + 1


@pytest.mark.many
def test_two_processes_do_what_any_wants_and_take_the_chiefs_number(tmp_path):
    workers = [
        processes.start(
            as_worker,
            json.dumps(cluster),
            str(tmp_path / f"{index}.json"),
            log=tmp_path / f"{index}.log",
        )
        for index, cluster in enumerate(processes.clusters(2))
    ]
    for worker in workers:
        assert processes.finish(worker) == 0
    for index in range(2):
        found = json.loads((tmp_path / f"{index}.json").read_text())
        assert found == {
            "any": [True, True, True, False],
            "chief": [2**40, 0],
        }


def as_worker(cluster, path):
    os.environ["TF_CONFIG"] = cluster
    # Two replicas of each process, which hand in the same numbers.
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * 2,
    )
    strategy = strategy_lib.create(
        settings_lib.Settings(
            strategy="multi_worker", output_dir="unused", epochs=1
        ).distribution
    )
    first = strategy_lib.is_chief(strategy)
    both = consensus.Consensus(strategy)
    found = {
        "any": both.any(first, not first, True, False),
        "chief": [both.of_chief(2**40 + (not first)), both.of_chief(not first)],
    }
    pathlib.Path(path).write_text(json.dumps(found))
    return 0
