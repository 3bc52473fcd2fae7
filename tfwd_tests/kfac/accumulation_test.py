"""A step accumulated from half batches is the step on the whole one."""

import keras
import pytest

import tfwd
from tfwd.kfac import schedule
from tfwd_tests import marks
from tfwd_tests.kfac import training


@pytest.mark.parametrize(
    "arguments",
    [
        {"estimation": "exact"},
        *marks.many(
            {"estimation": "sampled"},
            {"curvature": "gauss_newton", "stagger_inverses": True},
            {"damping_mode": "eigen", "kl_clip": 1e-2},
        ),
    ],
    ids=["exact", "sampled", "gauss_newton", "eigen"],
)
def test_half_batches_give_factors_and_weights_of_whole_ones(arguments):
    whole = training.compiled(**arguments)
    halves = training.compiled(gradient_accumulation_steps=2, **arguments)
    training.fit(whole, epochs=2)
    training.fit(halves, epochs=2, batch_size=training.BATCH // 2)
    assert training.error(halves, whole) <= 1e-5
    error = training.factor_error(halves.optimizer, whole.optimizer)
    assert error <= 1e-5
    counted = keras.ops.convert_to_numpy(halves.optimizer.schedule_step())
    assert counted == 24


def test_the_authors_order_is_refused():
    # Factors follow the step there, which stands between the two halves.
    with pytest.raises(ValueError, match="update_order='authors'"):
        tfwd.KFAC(update_order="authors", gradient_accumulation_steps=2)


def of_two():
    return schedule.Schedule(
        (0, 0), factor_every=2, inverse_every=3, accumulation=2
    )


def test_both_halves_enter_the_factors_and_the_inverses_wait_for_the_last():
    work = [of_two().before(batch) for batch in range(8)]
    assert [w.factors for w in work] == [True, True, False, False] * 2
    assert [w.inverses for w in work] == [
        *[(), (0, 1)],
        *[(), ()] * 2,
        *[(), (0, 1)],
    ]
    assert not any(of_two().after(batch) for batch in range(8))
