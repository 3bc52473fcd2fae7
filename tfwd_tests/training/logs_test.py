"""metrics.csv, run.json, TensorBoard and the final table.

Covers `columns` and `writers`.
"""

import json

import keras
import pytest
import tensorflow as tf

import tfwd
from tfwd.diagnostics.backend import tensorflow_summaries
from tfwd.training.config import columns
from tfwd.training.runs import logs

ROW = {name: None for name in columns.COLUMNS} | {
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
    assert path.read_text().splitlines()[0] == ",".join(columns.COLUMNS)


@pytest.mark.parametrize("kept", [0, 1, 3])
def test_rows_of_the_checkpoint_stay_and_later_ones_are_replaced(
    tmp_path, kept
):
    path = tmp_path / "metrics.csv"
    for rows, epochs in ((0, (1, 2, 3)), (kept, (8, 9))):
        file = logs.MetricsFile(path, rows=rows)
        for epoch in epochs:
            file.append(ROW | {"epoch": epoch})
        file.close()
    epochs = [row["epoch"] for row in logs.read(path)]
    assert epochs == [*(1, 2, 3)[:kept], 8, 9]


def test_torn_row_behind_those_of_the_checkpoint_is_dropped(tmp_path):
    path = tmp_path / "metrics.csv"
    file = logs.MetricsFile(path)
    file.append(ROW)
    file.close()
    whole = path.read_bytes()
    path.write_bytes(whole + b"24,2,0.")
    logs.MetricsFile(path, rows=1).close()
    assert path.read_bytes() == whole


def test_text_has_the_columns_of_images_and_perplexities():
    assert columns.of_epochs("classification") == columns.COLUMNS
    assert columns.of_epochs("language_model") == (
        *columns.COLUMNS,
        "train_perplexity",
        "validation_perplexity",
        "test_perplexity",
    )


def test_unknown_column_is_an_error(tmp_path):
    file = logs.MetricsFile(tmp_path / "metrics.csv")
    with pytest.raises(ValueError, match="surprise"):
        file.append({"surprise": 1})
    file.close()


def test_rows_of_fewer_columns_are_kept_by_the_names_of_these(tmp_path):
    path = tmp_path / "metrics.csv"
    before = "epoch,step,speed,train_loss\n1,4,9.5,0.25\n2,8,9,0.125\n"
    path.write_text(before)
    with pytest.warns(UserWarning, match="2 of them could be kept"):
        logs.MetricsFile(path, rows=2, last_step=8).close()
    rows = logs.read(path)
    assert list(rows[0]) == list(columns.COLUMNS)
    assert [(row["step"], row["train_loss"]) for row in rows] == [
        (4.0, 0.25),
        (8.0, 0.125),
    ]
    assert rows[0]["test_loss"] is None
    assert (tmp_path / "metrics.damaged-1.csv").read_text() == before


@pytest.mark.parametrize(
    ("lost", "steps"), [(0, [2.0]), (1, [1.0]), (2, [1.0, 2.0])]
)
def test_row_of_a_later_step_takes_no_lost_ones_place(tmp_path, lost, steps):
    path = tmp_path / "metrics.csv"
    file = logs.MetricsFile(path)
    for step in (1, 2, 3):
        file.append(ROW | {"step": step})
    file.close()
    lines = path.read_text().splitlines(keepends=True)
    lines[1 + lost] = lines[1 + lost][:3] + "\n"
    path.write_text("".join(lines))
    # The checkpoint is of step 2.
    if len(steps) == 2:
        file = logs.MetricsFile(path, rows=2, last_step=2)
    else:
        with pytest.warns(UserWarning, match="1 of them could be kept"):
            file = logs.MetricsFile(path, rows=2, last_step=2)
    file.close()
    assert [row["step"] for row in logs.read(path)] == steps
    assert file.rows == len(steps)


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
                1234.5,
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
    assert described["input_examples_per_second"] == 1234.5
    assert described["registration"] is None


def test_tensorboard_holds_the_numbers_of_the_row(tmp_path):
    board = tensorflow_summaries.Summaries(tmp_path)
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
    rows = {
        "train": {"loss": 0.25, "accuracy": 1.0},
        "test": {"loss": 0.5, "accuracy": 0.75},
    }
    text = logs.table(rows, 5.0)
    assert [line.split() for line in text.splitlines()] == [
        ["loss", "accuracy"],
        ["train", "0.2500", "1.0000"],
        ["test", "0.5000", "0.7500"],
        ["weight", "norm", "5.0000"],
    ]


def test_columns_of_the_table_stand_under_their_names():
    rows = {"test": {"loss": 2.0, "accuracy": 0.5, "perplexity": 12345.678}}
    head, line, _ = logs.table(rows, 5.0).splitlines()
    assert head.split() == ["loss", "accuracy", "perplexity"]
    for name, text in (("loss", "2.0000"), ("perplexity", "12345.6780")):
        assert head.index(name) + len(name) == line.index(text) + len(text)
