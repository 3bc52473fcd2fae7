"""metrics.csv, run.json, TensorBoard and the final table."""

import json

import keras
import pytest
import tensorflow as tf

import tfwd
from tfwd.training import logs

ROW = {name: None for name in logs.COLUMNS} | {
    "step": 12,
    "epoch": 1,
    "train_loss": 0.1,
    "penalty": 1 / 3,
}


def test_rows_are_on_disk_at_once_with_all_digits(tmp_path):
    path = tmp_path / "metrics.csv"
    file = logs.MetricsFile(path)
    file.append(ROW)
    (row,) = logs.read(path)
    assert row == ROW
    file.close()
    assert path.read_text().splitlines()[0] == ",".join(logs.COLUMNS)


def test_existing_file_is_not_overwritten(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("mine")
    with pytest.raises(FileExistsError):
        logs.MetricsFile(path)


def test_unknown_column_is_an_error(tmp_path):
    file = logs.MetricsFile(tmp_path / "metrics.csv")
    with pytest.raises(ValueError, match="surprise"):
        file.append({"surprise": 1})
    file.close()


def test_description_lists_decayed_and_excluded_paths():
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(2, name="logits")]
    )
    optimizer = tfwd.SGDS(
        weight_decay_multipliers={"kernel": 0.5},
        exclude_from_weight_decay=["@bias"],
    )
    optimizer.build(model.trainable_variables)
    described = json.loads(
        logs.as_json(
            logs.description(
                "1.2.3",
                tf.distribute.get_strategy(),
                model,
                optimizer,
                "test_accuracy",
            )
        )
    )
    (decayed,) = described["decayed"].items()
    assert decayed[0].endswith("logits/kernel") and decayed[1] == 0.5
    (excluded,) = described["excluded"]
    assert excluded.endswith("logits/bias")
    assert described["parameters"] == described["trainable_parameters"] == 8
    assert described["optimizer"]["class_name"] == "SGDS"
    assert described["versions"]["tfwd"] == "1.2.3"
    assert described["best_by"] == "test_accuracy"


def test_tensorboard_holds_the_numbers_of_the_row(tmp_path):
    board = logs.TensorBoard(tmp_path)
    board.append(ROW)
    board.close()
    (path,) = tmp_path.iterdir()
    found = {
        value.tag: (event.step, float(tf.make_ndarray(value.tensor)))
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
    }
    assert found == {
        "epoch": (12, 1.0),
        "train_loss": (12, pytest.approx(0.1)),
        "penalty": (12, pytest.approx(1 / 3)),
    }


def test_table_has_a_line_per_split_and_the_norm():
    text = logs.table({"train": (0.25, 1.0), "test": (0.5, 0.75)}, 5.0)
    assert [line.split() for line in text.splitlines()] == [
        ["loss", "accuracy"],
        ["train", "0.2500", "1.0000"],
        ["test", "0.5000", "0.7500"],
        ["weight", "norm", "5.0000"],
    ]
