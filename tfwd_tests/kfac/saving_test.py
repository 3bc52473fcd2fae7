"""A saved training continues as if it had not been saved, bit for bit."""

import keras
import numpy as np
import pytest

from tfwd_tests import marks
from tfwd_tests.kfac import training

STEPS = 56
# In the middle of every interval: factors every 3 steps, inverses every 5.
SAVED_AT = (10, 33, 50)


def batches():
    x, y = training.examples(STEPS * training.BATCH)
    return list(zip(np.split(x, STEPS), np.split(y, STEPS), strict=True))


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        *marks.many(
            {"stagger_inverses": True},
            {"damping_mode": "eigen", "curvature": "gauss_newton"},
            # Saved between the two halves of a step, too.
            {"gradient_accumulation_steps": 2},
        ),
    ],
    ids=["together", "staggered", "eigen", "accumulated"],
)
def test_saved_loaded_and_continued_equals_uninterrupted(arguments, tmp_path):
    model = training.compiled(**arguments)
    paths = {}
    for number, batch in enumerate(batches()):
        if number in SAVED_AT:
            paths[number] = tmp_path / f"{number}.keras"
            model.save(paths[number])
        training.step(model, *batch)
    assert sorted(paths) == list(SAVED_AT)
    for number, path in paths.items():
        loaded = keras.saving.load_model(path)
        loaded.optimizer.attach(loaded)
        for batch in batches()[number:]:
            training.step(loaded, *batch)
        assert training.error(loaded, model) == 0
        for one, other in zip(
            training.optimizer_values(loaded),
            training.optimizer_values(model),
            strict=True,
        ):
            np.testing.assert_array_equal(one, other)
