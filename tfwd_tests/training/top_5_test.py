"""Top-5 accuracy: NumPy's, and in every file and table of a run."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfwd import train
from tfwd.training.config import columns
from tfwd.training.loop import kfac_work
from tfwd.training.loop import loop as loop_lib
from tfwd.training.loop import step as step_lib
from tfwd.training.loop import top_5
from tfwd.training.runs import logs
from tfwd_tests.data import folders
from tfwd_tests.training import looping

CLASSES = 21
RANDOM = np.random.default_rng(5)


def in_numpy(labels, logits):
    """Stable sorting has equal logits in the order of their classes."""
    best = np.argsort(-logits, axis=-1, kind="stable")[:, :5]
    return (best == labels[:, None]).any(-1)


@pytest.mark.parametrize(
    "levels", [10**6, 7, 1], ids=["few ties", "ties", "equal"]
)
def test_hits_are_those_of_a_stable_sort(levels):
    logits = RANDOM.integers(levels, size=(300, CLASSES)).astype(np.float32)
    labels = RANDOM.integers(CLASSES, size=300)
    found = top_5.hits(tf.constant(labels), tf.constant(logits))
    np.testing.assert_array_equal(found, in_numpy(labels, logits))


def test_best_answer_is_a_hit_in_ties_too():
    logits = RANDOM.integers(2, size=(200, CLASSES)).astype(np.float32)
    assert np.all(top_5.hits(tf.argmax(logits, -1), tf.constant(logits)))


def test_same_logit_for_all_hits_as_often_as_five_guesses():
    found = top_5.hits(tf.range(CLASSES), tf.zeros((CLASSES, CLASSES)))
    assert np.sum(found) == 5


def test_more_than_twenty_classes_of_images_are_measured():
    assert top_5.applies("classification", 21)
    assert not top_5.applies("classification", 20)
    assert not top_5.applies("language_model", 10_000)


@pytest.mark.parametrize("replicas", [1, 2])
def test_every_example_counts_once_whatever_the_batches(replicas):
    kernel = RANDOM.normal(size=(looping.FEATURES, CLASSES))
    strategy = looping.mirrored(replicas)
    with strategy.scope():
        layers = [
            keras.Input((looping.FEATURES,)),
            keras.layers.Dense(CLASSES, use_bias=False),
        ]
        model = keras.Sequential(layers)
        model.set_weights([kernel])
    step = step_lib.Step(model, curvature=kfac_work.NoWork(), counts_top_5=True)
    # Batches of 4, 4 and 3, the last of which two replicas share unequally.
    whole = looping.distributed(strategy, weight=1)
    found = loop_lib.Loop(strategy, step).evaluate(whole, 3)
    logits = looping.IMAGES @ kernel.astype(np.float32)
    hits = in_numpy(looping.LABELS, logits)
    assert found[1:] == pytest.approx(
        [(logits.argmax(-1) == looping.LABELS).mean(), hits.mean()]
    )


@pytest.fixture
def arguments(tmp_path, monkeypatch):
    """Flags of a run on eight images of a hundred classes."""
    monkeypatch.chdir(tmp_path)
    folders.write(tmp_path / "data", "cifar100")
    return ["--dataset=cifar100", "--data_dir=data"]


TRAINED = (
    *("--hidden_layers=0", "--epochs=1", "--batch_size=3"),
    *("--eval_batch_size=4", "--output_dir=a", "--tensorboard"),
)


def test_run_has_it_in_metrics_tensorboard_and_tables(
    arguments, tmp_path, capsys
):
    assert train.main([*arguments, *TRAINED]) == 0
    assert "top_5_accuracy" in capsys.readouterr().out
    (row,) = logs.read(tmp_path / "a" / "metrics.csv")
    assert list(row) == list(columns.of_epochs("classification", True))
    assert row["validation_top_5_accuracy"] is None
    assert row["test_top_5_accuracy"] >= row["test_accuracy"]
    events = next((tmp_path / "a" / "tensorboard" / "metrics").iterdir())
    assert b"test_top_5_accuracy" in events.read_bytes()
    evaluated = ["--mode=eval", "--model_file=a/final.keras"]
    assert train.main([*evaluated, *arguments, "--eval_batch_size=4"]) == 0
    header, _, test, _ = capsys.readouterr().out.splitlines()
    assert header.split() == ["loss", "accuracy", "top_5_accuracy"]
    assert float(test.split()[-1]) == pytest.approx(row["test_top_5_accuracy"])


def test_run_of_an_earlier_version_goes_on_and_keeps_its_rows(
    arguments, tmp_path
):
    flags = [*arguments, *TRAINED]
    assert train.main(flags) == 0
    path = tmp_path / "a" / "metrics.csv"
    header, line = path.read_text().splitlines()
    left = len(columns.COLUMNS)
    path.write_text(
        "".join(
            ",".join(each.split(",")[:left]) + "\n" for each in (header, line)
        )
    )
    with pytest.warns(UserWarning, match="1 of them could be kept"):
        assert train.main([*flags, "--epochs=2"]) == 0
    first, second = logs.read(path)
    assert first["test_top_5_accuracy"] is None
    assert first["test_loss"] is not None
    assert second["test_top_5_accuracy"] is not None
