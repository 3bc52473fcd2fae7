"""Keras' own callbacks do in a run what they do in `fit`."""

import csv
import pathlib

import keras
import numpy as np
import pytest
from tensorboard.backend.event_processing import event_accumulator

import tfwd
from tfwd import train
from tfwd.training.checkpoint import checkpoint
from tfwd.training.config import flagfile
from tfwd.training.loop import loop as loop_lib
from tfwd.training.runs import logs
from tfwd_tests.training import crashes

# Three steps in each epoch.
TINY = [
    *("--hidden_units=4", "--hidden_layers=1", "--train_fraction=0.05"),
    *("--batch_size=32", "--steps_per_loop=2", "--num_validation=50"),
    *("--optimizer=sgdw", "--learning_rate=0.125", "--momentum=0.5"),
]
KERAS_NAMES = {"loss", "accuracy", "val_loss", "val_accuracy"}


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(*callbacks, arguments=(), epochs=3, folder="a"):
    settings = flagfile.parse(
        [*TINY, *arguments, f"--epochs={epochs}", f"--output_dir={folder}"]
    )
    return tfwd.training.run(settings, callbacks=list(callbacks))


class Calls(keras.callbacks.Callback):
    """Notes which hooks are called, with their epoch or batch, and the logs."""

    def __init__(self):
        super().__init__()
        self.calls, self.logs = [], []

    def on_train_begin(self, logs=None):
        self.calls.append("train")

    def on_epoch_begin(self, epoch, logs=None):
        self.calls.append(f"epoch {epoch}")

    def on_train_batch_begin(self, batch, logs=None):
        self.calls.append(f"batch {batch}")

    def on_train_batch_end(self, batch, logs=None):
        self.calls.append(f"after {batch}")
        assert logs["loss"] > 0 and 0 <= logs["accuracy"] <= 1

    def on_test_begin(self, logs=None):
        self.calls.append("test")

    def on_test_end(self, logs=None):
        self.calls.append("after test")
        assert logs.keys() == {"loss", "accuracy"}

    def on_epoch_end(self, epoch, logs=None):
        self.calls.append(f"after epoch {epoch}")
        self.logs.append(logs)

    def on_train_end(self, logs=None):
        self.calls.append("after train")
        assert self.logs[-1].items() >= logs.items()


EPOCH = [
    *("epoch {0}", "batch 0", "after 1", "batch 2", "after 2"),
    *("test", "after test", "after epoch {0}"),
]


def test_hooks_are_called_in_the_order_of_keras():
    calls = Calls()
    result = run(calls, epochs=2)
    expected = [line.format(epoch) for epoch in range(2) for line in EPOCH]
    assert calls.calls == ["train", *expected, "after train"]
    assert calls.params["epochs"] == 2 and calls.params["steps"] == 3
    assert result.exit_code == 0 and result.folder == pathlib.Path("a")
    for row, seen in zip(result.rows, calls.logs, strict=True):
        for name, column in (
            ("loss", "train_loss"),
            ("val_accuracy", "validation_accuracy"),
            ("test_loss", "test_loss"),
            ("weight_norm", "weight_norm"),
        ):
            assert seen[name] == row[column]
    assert (result.folder / "final.keras").exists()


def test_callbacks_change_no_bit_of_a_run():
    run(Calls(), keras.callbacks.History(), epochs=2)
    assert train.main([*TINY, "--epochs=2", "--output_dir=b"]) == 0
    crashes.assert_same("a", "b")


@pytest.mark.parametrize("strategy", ["default", "mirrored"])
def test_early_stopping_completes_the_run_with_the_best_weights(strategy):
    # Nothing is better than the first epoch by more than 1.
    stopping = keras.callbacks.EarlyStopping(
        "val_accuracy", min_delta=1, patience=1, restore_best_weights=True
    )
    weights = []
    keep = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: weights.append(
            keep.model.get_weights()
        )
    )
    arguments = [f"--strategy={strategy}"]
    result = run(stopping, keep, arguments=arguments, epochs=9)
    assert len(result.rows) == 2 and stopping.stopped_epoch == 1
    model = keras.saving.load_model("a/final.keras")
    for saved, best in zip(model.get_weights(), weights[0], strict=True):
        np.testing.assert_array_equal(saved, best)
    assert train.main([*TINY, "--epochs=9", "--output_dir=a"]) == 0
    assert len(logs.read(pathlib.Path("a/metrics.csv"))) == 2


def test_csv_logger_writes_a_row_per_epoch():
    result = run(tfwd.WeightDecayLogger(), keras.callbacks.CSVLogger("log.csv"))
    with open("log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert KERAS_NAMES | {"averaging_time"} <= rows[0].keys()
    assert [float(row["val_loss"]) for row in rows] == [
        row["validation_loss"] for row in result.rows
    ]


def test_tensorboard_has_the_epochs_of_both_splits():
    result = run(keras.callbacks.TensorBoard("board", histogram_freq=1))
    for split, column in (
        ("train", "train_loss"),
        ("validation", "validation_loss"),
    ):
        events = event_accumulator.EventAccumulator(f"board/{split}").Reload()
        found = [
            float(keras.ops.convert_to_numpy(_number(event)))
            for event in events.Tensors("epoch_loss")
        ]
        assert found == pytest.approx([row[column] for row in result.rows])


def _number(event):
    import tensorflow as tf

    return tf.make_ndarray(event.tensor_proto)


def test_lambda_callback_stops_within_an_epoch():
    def stop(batch, logs):
        callback.model.stop_training = True

    callback = keras.callbacks.LambdaCallback(on_train_batch_end=stop)
    result = run(callback)
    assert result.exit_code == 0 and result.rows == []
    model = keras.saving.load_model("a/final.keras")
    assert int(model.optimizer.iterations) == 2


RATES = [0.125, 0.0, 0.25]


def scheduler():
    return keras.callbacks.LearningRateScheduler(lambda epoch, _: RATES[epoch])


def test_learning_rate_scheduler_sets_the_rate_of_each_epoch():
    norms = []
    keep = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: norms.append(logs["weight_norm"])
    )
    result = run(scheduler(), keep, arguments=["--log_every=3"])
    for rows in (result.rows, logs.read(result.folder / "steps.csv")):
        assert [row["learning_rate"] for row in rows] == RATES
    # An epoch without a rate moves nothing, and decoupled decay with it.
    assert norms[0] == norms[1] != norms[2]


def test_learning_rate_is_not_settable_beside_a_schedule():
    with pytest.raises(TypeError, match="learning rate is not settable"):
        run(scheduler(), arguments=["--schedule=cosine"])


def half():
    return keras.callbacks.LearningRateScheduler(
        lambda epoch, rate: rate / 2 if epoch else rate
    )


@pytest.mark.parametrize(
    ("scheduler", "count"),
    [
        # After an epoch the rate is that of the checkpoint.
        (half, 2),
        # Within one the epoch begins again.
        pytest.param(scheduler, 3, marks=pytest.mark.many),
    ],
)
def test_resumed_run_is_as_one_that_nothing_ended(
    monkeypatch, scheduler, count
):
    arguments = ["--checkpoint_every=5"]
    run(scheduler(), arguments=arguments)
    with monkeypatch.context() as patched:
        crashing = crashes.crashing_after(checkpoint.Checkpoints.save, count)
        patched.setattr(checkpoint.Checkpoints, "save", crashing)
        with pytest.raises(crashes.Crash):
            run(scheduler(), arguments=arguments, folder="b")
    run(scheduler(), arguments=arguments, folder="b")
    crashes.assert_same("b", "a")


def test_a_run_raises_what_the_binary_prints():
    with pytest.raises(loop_lib.NonFiniteError, match="finite in step"):
        run(arguments=["--learning_rate=1e20", "--nobatch_norm"])
    with pytest.raises(ValueError, match="`--output_dir` must be a new folder"):
        run()
    with pytest.raises(ValueError, match="`callbacks` must be a list"):
        run(print)


def test_a_text_model_has_its_optimizer_for_callbacks():
    pathlib.Path("text/ptb").mkdir(parents=True)
    words = " ".join("a b c d e f g h".split() * 40)
    for split in ("train", "valid", "test"):
        path = pathlib.Path(f"text/ptb/ptb.{split}.txt")
        path.write_text(words + "\n")
    settings = flagfile.parse(
        [
            *("--dataset=ptb", "--data_dir=text", "--model=lstm"),
            *("--batch_size=4", "--hidden_units=2", "--epochs=1"),
            "--output_dir=a",
        ]
    )
    calls = Calls()
    calls.on_test_end = lambda logs: None
    tfwd.training.run(settings, [calls, tfwd.WeightDecayLogger()])
    assert {"perplexity", "val_perplexity"} <= calls.logs[0].keys()
