"""One device, two replicas and two processes train to the same weights."""

import json
import os

import numpy as np
import pytest
import tensorflow as tf

from tfwd.training import optimizer as optimizer_lib
from tfwd_tests.survival import distributed
from tfwd_tests.training import looping
from tfwd_tests.training import processes

QUICK = ("sgds", "adams", "kfac")
FULL = [
    pytest.param(name, marks=pytest.mark.full)
    for name in optimizer_lib.OPTIMIZERS
    if name not in QUICK
]


def configurations_of(name):
    """Plain, and with everything, in mode "l2" where there is one."""
    modes = optimizer_lib.OPTIMIZERS[name].weight_decay_modes
    ending = "_l2" if "l2" in modes else ""
    return ["plain", f"clipped_accumulated{ending}"]


def weights(strategy, name, configuration):
    return distributed.weights_after_training(strategy, name, configuration)


@pytest.mark.parametrize("name", [*QUICK, *FULL])
def test_two_replicas_train_to_the_weights_of_one_device(name):
    for configuration in configurations_of(name):
        one = weights(tf.distribute.get_strategy(), name, configuration)
        two = weights(looping.mirrored(2), name, configuration)
        before = distributed.network().get_weights()
        for old, expected, found in zip(before, one, two, strict=True):
            np.testing.assert_allclose(
                found, expected, atol=1e-5, err_msg=configuration
            )
            assert np.abs(expected - old).max() > 1e-4


@pytest.mark.parametrize(
    "names",
    [
        QUICK,
        pytest.param(tuple(optimizer_lib.OPTIMIZERS), marks=pytest.mark.full),
    ],
    ids=["quick", "all"],
)
def test_two_processes_train_to_the_weights_of_one_device(tmp_path, names):
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
    for worker in workers:
        assert processes.finish(worker, seconds=3000) == 0
    found = np.load(tmp_path / "weights.npz")
    for name in names:
        for configuration in configurations_of(name):
            one = weights(tf.distribute.get_strategy(), name, configuration)
            for number, expected in enumerate(one):
                key = f"{name} {configuration} {number}"
                np.testing.assert_allclose(
                    found[key], expected, atol=1e-5, err_msg=key
                )


def as_worker(cluster, names, path):
    os.environ["TF_CONFIG"] = cluster
    return distributed.train_as_worker(
        {name: configurations_of(name) for name in names}, path
    )
