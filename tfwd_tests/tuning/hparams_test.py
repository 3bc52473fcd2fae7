"""TensorBoard's HParams plugin reads what a search wrote.

Covers `hparams_record`.
"""

import pytest
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams import metadata
from tensorboard.util import tensor_util

from tfwd.tuning.output import hparams
from tfwd_tests.tuning import searches

GOAL = searches.ACCURACY
VALUES = {
    "learning_rate": 1e-3,
    "optimizer": "adams",
    "nesterov": True,
    "decay_epochs": (80, 160),
    "epochs": 30,
    "damping": None,
}
ROWS = [
    {"epoch": 1.0, GOAL.name: 0.5},
    {"epoch": 2.0, GOAL.name: None},
    {"epoch": 3.0, GOAL.name: 0.75},
]


def events(folder):
    found = event_accumulator.EventAccumulator(str(folder))
    found.Reload()
    return found


def plugin_data(folder):
    """{tag: what the plugin reads of it}."""
    found = events(folder).PluginTagToContent(metadata.PLUGIN_NAME)
    parse = {
        tag: getattr(metadata, f"parse_{name}_plugin_data")
        for tag, name in (
            (metadata.EXPERIMENT_TAG, "experiment"),
            (metadata.SESSION_START_INFO_TAG, "session_start_info"),
            (metadata.SESSION_END_INFO_TAG, "session_end_info"),
        )
    }
    return {tag: parse[tag](content) for tag, content in found.items()}


def write_run(folder, **more):
    arguments = {
        **{"trial": "07", "seed": 1, "values": VALUES, "rows": ROWS},
        **{"objective": GOAL, "status": "completed"},
    }
    hparams.write_run(folder, **arguments | more)
    return folder / "trial_07" / "seed_1"


def test_experiment_has_domains_and_metric(tmp_path):
    folder = tmp_path / "tensorboard"
    hparams.write_experiment(
        folder,
        GOAL,
        choices={
            "optimizer": ("adams", "adamw"),
            "nesterov": (False, True),
            "weight_decay": (0, 1e-4),
            "decay_epochs": ((80,), (80, 160)),
            "mixed": (1, "a"),
        },
        intervals={"learning_rate": (1e-4, 1e-1), "epochs": (10, 30)},
    )
    (experiment,) = plugin_data(folder).values()
    infos = {info.name: info for info in experiment.hparam_infos}
    found = {
        name: [
            getattr(value, value.WhichOneof("kind"))
            for value in info.domain_discrete.values
        ]
        for name, info in infos.items()
        if info.HasField("domain_discrete")
    }
    assert {name: sorted(each) for name, each in found.items()} == {
        "optimizer": ["adams", "adamw"],
        "nesterov": [False, True],
        "weight_decay": [0, 1e-4],
        "decay_epochs": ["80", "80,160"],
        "mixed": ["1", "a"],
    }
    for name, ends in (("learning_rate", [1e-4, 1e-1]), ("epochs", [10, 30])):
        interval = infos[name].domain_interval
        assert [interval.min_value, interval.max_value] == ends
    (metric,) = experiment.metric_infos
    assert metric.name.tag == GOAL.name
    assert [path.name for path in tmp_path.iterdir()] == ["tensorboard"]


def test_experiment_is_written_once(tmp_path):
    for choices in ({"a": (1, 2)}, {"b": (1, 2)}):
        hparams.write_experiment(tmp_path / "t", GOAL, choices)
    assert len(list((tmp_path / "t").iterdir())) == 1
    (experiment,) = plugin_data(tmp_path / "t").values()
    assert [info.name for info in experiment.hparam_infos] == ["a"]


def test_run_has_its_values_objective_and_status(tmp_path):
    run = write_run(tmp_path / "tensorboard")
    found = plugin_data(run)
    start = found[metadata.SESSION_START_INFO_TAG]
    assert start.group_name == "07"
    values = {
        name: getattr(value, value.WhichOneof("kind"))
        for name, value in start.hparams.items()
    }
    assert values == {
        "learning_rate": 1e-3,
        "optimizer": "adams",
        "nesterov": True,
        "decay_epochs": "80,160",
        "epochs": 30,
    }
    ended = found[metadata.SESSION_END_INFO_TAG]
    assert ended.status == api_pb2.STATUS_SUCCESS
    scalars = [
        (event.step, float(tensor_util.make_ndarray(event.tensor_proto)))
        for event in events(run).Tensors(GOAL.name)
    ]
    assert scalars == [(1, 0.5), (3, 0.75)]


@pytest.mark.parametrize("status", ["diverged", "failed", "pruned"])
def test_run_without_a_result_has_failed(status, tmp_path):
    run = write_run(tmp_path / "tensorboard", status=status, rows=[])
    ended = plugin_data(run)[metadata.SESSION_END_INFO_TAG]
    assert ended.status == api_pb2.STATUS_FAILURE


def test_run_that_is_written_again_replaces_the_one_before(tmp_path):
    write_run(tmp_path / "tensorboard", rows=ROWS[:1])
    run = write_run(tmp_path / "tensorboard", rows=ROWS[2:])
    (event,) = events(run).Tensors(GOAL.name)
    assert event.step == 3
    assert len(list(run.iterdir())) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["tensorboard"]
