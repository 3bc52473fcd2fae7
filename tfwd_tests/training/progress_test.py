"""Progress survives JSON with every bit, and refuses what it does not know."""

import dataclasses
import json

import numpy as np
import pytest

from tfwd.training.checkpoint import progress as progress_lib


def test_every_field_comes_back_with_every_bit():
    progress = progress_lib.Progress(
        epoch=3,
        step=2**40,
        step_in_epoch=17,
        loss=0.1 + 0.2,
        correct=1e17,
        examples=1 / 3,
        elapsed_seconds=5e-324,
        timed_seconds=float("inf"),
        timed_examples=2.0**53 + 2,
        best=np.nextafter(1, 2),
        best_epoch=2,
        rows=3,
        overshot=True,
        restores=3,
    )
    again = progress_lib.Progress.from_json(progress.to_json())
    assert again == progress
    for field in dataclasses.fields(again):
        default = getattr(progress_lib.Progress(), field.name)
        if default is not None:
            assert type(getattr(again, field.name)) is type(default)


def test_new_progress_with_its_nones_comes_back():
    again = progress_lib.Progress.from_json(progress_lib.Progress().to_json())
    assert again == progress_lib.Progress()
    assert again.best is None


def test_sums_in_numpy_are_written_as_python_numbers():
    progress = progress_lib.Progress(loss=np.float32(0.1), step=np.int64(7))
    again = progress_lib.Progress.from_json(progress.to_json())
    assert (again.loss, again.step) == (float(np.float32(0.1)), 7)


def changed(**changes):
    values = json.loads(progress_lib.Progress().to_json())
    return json.dumps(values | changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (changed(speed=1.0), r"must have no fields .* Received: \['speed'\]"),
        (changed(step=1.5), r"`step` must be .*int.* Received: step=1.5"),
        (changed(loss="1"), "`loss` must be .*float.* Received: loss='1'"),
        (changed(overshot=1), "`overshot` must be .*bool.* overshot=1"),
        (changed(rows=True), "`rows` must be .*int.* rows=True"),
        (changed(epoch=None), "`epoch` must be .*int.* epoch=None"),
    ],
)
def test_other_fields_are_refused_by_name(text, message):
    with pytest.raises(ValueError, match=message):
        progress_lib.Progress.from_json(text)


def test_field_of_a_later_version_has_its_default():
    found = progress_lib.Progress.from_json('{"step": 3, "epoch": 1}')
    assert found == progress_lib.Progress(step=3, epoch=1)


@pytest.mark.parametrize(
    ("more_is_better", "best", "best_epoch"), [(True, 3.0, 2), (False, 1.0, 4)]
)
def test_first_of_the_best_epochs_is_the_best(more_is_better, best, best_epoch):
    progress = progress_lib.Progress(step=9, step_in_epoch=9, examples=8.0)
    for value in (2.0, 3.0, 3.0, 1.0, 1.0):
        progress.finish_epoch(value, more_is_better)
    assert progress == progress_lib.Progress(
        step=9, epoch=5, rows=5, best=best, best_epoch=best_epoch
    )
