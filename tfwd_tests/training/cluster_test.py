"""Clusters: from TF_CONFIG, from flags, and neither."""

import json
import os

import pytest
import tensorflow as tf

from tfwd.training.distributed import cluster

TWO = {"worker": ["a:1", "b:2"]}


def config(jobs, kind="worker", index=0):
    return json.dumps({"cluster": jobs, "task": {"type": kind, "index": index}})


@pytest.fixture(autouse=True)
def tf_config(monkeypatch):
    """Sets TF_CONFIG, which is gone before and after the test."""
    # So that what the test's subject sets is undone as well.
    monkeypatch.setenv("TF_CONFIG", "")
    monkeypatch.delenv("TF_CONFIG")
    return lambda text: monkeypatch.setenv("TF_CONFIG", text)


@pytest.mark.parametrize(
    ("text", "hosts", "index"),
    [
        (config(TWO), ("a:1", "b:2"), 0),
        (config(TWO, index=1), ("a:1", "b:2"), 1),
        (config({**TWO, "chief": ["c:3"]}, "chief"), ("c:3", "a:1", "b:2"), 0),
        (config({**TWO, "chief": ["c:3"]}), ("c:3", "a:1", "b:2"), 1),
        (config({"chief": ["c:3"]}, "chief"), ("c:3",), 0),
        (config({"worker": ["[::1]:1", "1.2.3.4:65535"]}), None, 0),
        (
            json.dumps({**json.loads(config(TWO)), "environment": "cloud"}),
            None,
            0,
        ),
    ],
)
def test_tf_config_is_read(tf_config, text, hosts, index):
    tf_config(text)
    found = cluster.configure()
    assert found.index == index
    assert found.is_chief == (index == 0)
    if hosts:
        assert found.hosts == hosts
        assert found.size == len(hosts)


SHAPE = r"must be \{\"cluster\""


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("{", "must be JSON"),
        ("[]", SHAPE),
        ("1", SHAPE),
        ("{}", SHAPE),
        (json.dumps({"cluster": TWO}), SHAPE),
        (json.dumps({"cluster": [], "task": {}}), SHAPE),
        (config({"worker": "a:1"}), SHAPE),
        (config({"worker": []}), SHAPE),
        (config({"worker": {"0": "a:1"}}), SHAPE),
        (config({}), SHAPE),
        (config(TWO, None), SHAPE),
        (config(TWO, ["worker"]), SHAPE),
        (config({"worker": ["a"]}), "host:port everywhere, not 'a'"),
        (config({"worker": ["a:x"]}), "host:port"),
        (config({"worker": ["a:0"]}), "host:port"),
        (config({"worker": ["a:65536"]}), "host:port"),
        (config({"worker": ["a:1,b:2"]}), "host:port"),
        (config({"worker": [7]}), "host:port everywhere, not 7"),
        (config({"worker": ["a:1", "a:1"]}), "once, not a:1 2 times"),
        (config({**TWO, "chief": ["a:1"]}), "once, not a:1"),
        (config({**TWO, "chief": ["c:3", "d:4"]}), "at most one chief"),
        (config({**TWO, "ps": ["c:3"]}), "no ps: Keras 3 cannot train on"),
        (config(TWO, "ps"), "no ps"),
        (config({**TWO, "evaluator": ["c:3"]}), "no evaluator"),
        (config(TWO, "evaluator"), "no evaluator"),
        (config({**TWO, "master": ["c:3"]}), "no jobs but chief and worker"),
        (config(TWO, "boss"), "no jobs but chief and worker"),
        (config(TWO, "chief"), "the task's type"),
        (config(TWO, index=2), r"index in \[0, 2\), the number of worker"),
        (config(TWO, index=-1), r"\[0, 2\)"),
        (config(TWO, index="0"), r"\[0, 2\)"),
        (config(TWO, index=True), r"\[0, 2\)"),
        (config(TWO, index=None), r"\[0, 2\)"),
    ],
)
def test_malformed_tf_config_is_refused_in_one_line(tf_config, text, rule):
    tf_config(text)
    with pytest.raises(ValueError, match=rule) as error:
        cluster.configure(("a:1", "b:2"), 0)
    assert str(error.value).startswith("`TF_CONFIG` must ")
    assert str(error.value).endswith(f"Received: TF_CONFIG={text}")
    assert "\n" not in str(error.value)


def test_flags_become_the_tf_config_that_tensorflow_reads():
    assert cluster.configure(("a:1", "b:2"), 1) == cluster.Cluster(
        ("a:1", "b:2"), 1
    )
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    assert resolver.cluster_spec().as_dict() == TWO
    assert (resolver.task_type, resolver.task_id) == ("worker", 1)


def test_flags_may_be_configured_twice():
    first = cluster.configure(("a:1", "b:2"), 1)
    assert cluster.configure(("a:1", "b:2"), 1) == first


def test_existing_tf_config_wins_and_says_so(tf_config):
    tf_config(config(TWO, index=1))
    with pytest.warns(
        UserWarning,
        match="TF_CONFIG wins over --worker_hosts and --task_index: worker 1 "
        "of a:1,b:2",
    ):
        found = cluster.configure(("c:3", "d:4"), 0)
    assert found == cluster.Cluster(("a:1", "b:2"), 1)


@pytest.mark.parametrize(
    ("hosts", "index", "rule"),
    [
        ((), None, "`--worker_hosts` is needed by --strategy=multi_worker"),
        ((), 0, "`--worker_hosts` is needed"),
        (("a:1", ""), 0, "`--worker_hosts` must hold host:port .* not ''"),
        (("a", "b:2"), 0, "`--worker_hosts` must hold host:port"),
        (("a:1", "a:1"), 0, "`--worker_hosts` must hold every host:port once"),
        (("a:1", "b:2"), None, r"`--task_index` must be in \[0, 2\)"),
        (("a:1", "b:2"), 2, r"`--task_index` .* Received: --task_index=2"),
        (("a:1", "b:2"), -1, r"`--task_index` must be in \[0, 2\)"),
    ],
)
def test_flags_that_describe_no_cluster_are_refused(hosts, index, rule):
    with pytest.raises(ValueError, match=rule) as error:
        cluster.configure(hosts, index)
    assert "\n" not in str(error.value)
    assert "TF_CONFIG" not in os.environ
