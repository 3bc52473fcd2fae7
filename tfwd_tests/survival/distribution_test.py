"""One device, two replicas and two processes train to the same weights."""

import json
import os

import numpy as np
import pytest
import tensorflow as tf

from tfwd.training.setup import optimization as optimizer_lib
from tfwd_tests.survival import distributed
from tfwd_tests.training import looping
from tfwd_tests.training import processes

QUICK = ("sgds", "adams", "kfac")
OTHERS = tuple(n for n in optimizer_lib.OPTIMIZERS if n not in QUICK)


def configurations_of(name):
    """Plain, and with everything, in mode "l2" where there is one."""
    modes = optimizer_lib.OPTIMIZERS[name].weight_decay_modes
    ending = "_l2" if "l2" in modes else ""
    return ["plain", f"clipped_accumulated{ending}"]


def weights(strategy, name, configuration):
    return distributed.weights_after_training(strategy, name, configuration)


@pytest.mark.parametrize(
    "names",
    [QUICK, pytest.param(OTHERS, marks=pytest.mark.full)],
    ids=["quick", "others"],
)
def test_replicas_and_processes_train_to_the_weights_of_one_device(
    tmp_path, names
):
    workers = [
        processes.start(
            as_worker,
            json.dumps(cluster),
            names,
            str(tmp_path / "weights.npz"),
            log=tmp_path / f"{index}.log",
        )
        for index, cluster in enumerate(processes.clusters(2))
    ]
    one, two = (
        {
            (name, configuration): weights(strategy, name, configuration)
            for name in names
            for configuration in configurations_of(name)
        }
        for strategy in (tf.distribute.get_strategy(), looping.mirrored(2))
    )
    for worker in workers:
        assert processes.finish(worker, seconds=3000) == 0
    found = np.load(tmp_path / "weights.npz")
    before = distributed.network().get_weights()
    for (name, configuration), expected in one.items():
        for number, each in enumerate(expected):
            key = f"{name} {configuration} {number}"
            for other in two[name, configuration][number], found[key]:
                np.testing.assert_allclose(other, each, atol=1e-5, err_msg=key)
            assert np.abs(each - before[number]).max() > 1e-4, key


def as_worker(cluster, names, path):
    os.environ["TF_CONFIG"] = cluster
    return distributed.train_as_worker(
        {name: configurations_of(name) for name in names}, path
    )
