"""What the logger measures on two replicas is what it measures on one.

Covers `chief_process`.
"""

import contextlib

import numpy as np
import pytest
import tensorflow as tf

import tfwd
from tfwd.callbacks import mechanism_logger
from tfwd.diagnostics import mechanisms
from tfwd.diagnostics import table
from tfwd_tests.kfac import training
from tfwd_tests.optimizers import replicas

# Of float32; the trainings themselves differ by rounding.
TOLERANCE = 1e-4


def logged(path, scope, names=mechanisms.NAMES, **options):
    """Returns the rows of a fit."""
    x, y = training.examples(32)
    with scope:
        model = training.mlp()
        model.compile(tfwd.SGDW(0.1, 0.01), training.cross_entropy())
    # The last batch is one example: the second replica has none.
    dataset = tf.data.Dataset.from_tensor_slices((x[:21], y[:21])).batch(5)
    watched = mechanism_logger.MechanismLogger(
        path,
        dataset,
        diagnostics=names,
        picture=False,
        **options,
    )
    training.fit(model, (x, y), epochs=2, callbacks=[watched])
    return watched.rows


@pytest.mark.full
def test_rows_on_two_replicas_are_those_on_one(tmp_path):
    single = logged(tmp_path / "one", contextlib.nullcontext())
    mirrored = logged(tmp_path / "two", replicas.strategy().scope())
    assert len(single) == len(mirrored) == 9
    for one, two in zip(single, mirrored, strict=True):
        for name in set(table.COLUMNS) - {"layer", "seconds"}:
            if isinstance(one[name], float):
                np.testing.assert_allclose(
                    two[name], one[name], rtol=TOLERANCE, err_msg=name
                )
            else:
                assert one[name] == two[name]
    assert all(row["fisher_trace"] for row in single[:2])


def test_tensorboard_has_the_numbers_of_each_layer_by_step(tmp_path):
    rows = logged(
        tmp_path,
        contextlib.nullcontext(),
        ["effective_learning_rate"],
        tensorboard=tmp_path / "board",
    )
    (file,) = (tmp_path / "board").iterdir()
    found = {
        (value.tag, event.step): float(tf.make_ndarray(value.tensor))
        for event in tf.compat.v1.train.summary_iterator(str(file))
        for value in event.summary.value
    }
    expected = {}
    for row in rows:
        suffix = "" if row["layer"] == table.MODEL else f"/{row['layer']}"
        for name in table.NUMBERS:
            if row[name] is not None:
                expected[f"{name}{suffix}", row["step"]] = row[name]
    assert expected.keys() == found.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-6)
