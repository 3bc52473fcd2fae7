"""The rules of early stopping, on histories with known answers."""

import math

import pytest

from tfwd.tuning.engine import pruning

OTHERS = {
    ("0", 0): [0.9, 0.5, 0.7],
    ("1", 0): [0.8, 0.6, 0.4],
    ("1", 1): [0.7, 0.7, 0.1],
}


@pytest.mark.parametrize(
    ("history", "is_stopped"),
    [
        # The others' bests after epoch 2 are 0.5, 0.6, 0.7.
        ([0.9, 0.61], True),
        ([0.9, 0.6], False),
        ([0.55, 0.9], False),
        # After epoch 3 they are 0.1, 0.4, 0.5.
        ([0.9, 0.9, 0.41], True),
        ([0.9, 0.9, 0.4], False),
        ([0.3, math.nan, 0.9], False),
        ([math.nan, math.nan, math.nan], True),
        ([math.inf, math.inf], True),
        # Nobody has come as far.
        ([0.9, 0.9, 0.9, 0.9], False),
        # It is the first epoch, or none.
        ([9.0], False),
        ([], False),
    ],
)
def test_run_worse_than_the_median_of_the_bests_is_stopped(history, is_stopped):
    reason = pruning.median(history, OTHERS)
    assert (reason is not None) == is_stopped


def test_median_waits_for_epochs_and_for_others():
    worse = [0.9, 0.9]
    assert pruning.median(worse, OTHERS, warmup=1, least=3)
    assert not pruning.median(worse, OTHERS, warmup=2, least=3)
    assert not pruning.median(worse, OTHERS, warmup=1, least=4)
    assert pruning.median([0.95], OTHERS, warmup=0)
    shorter = OTHERS | {("0", 0): [0.9]}
    assert not pruning.median(worse, shorter)


def test_diverged_others_count_as_the_worst():
    others = {0: [math.nan] * 2, 1: [math.nan, math.inf], 2: [0.2, 0.2]}
    assert pruning.median([9.0, 9.0], others) is None


def test_reason_tells_the_numbers_in_one_line():
    assert pruning.median([0.9, 0.61], OTHERS) == (
        "best 0.61 after epoch 2 is worse than 0.6, "
        "the median of 3 others there"
    )
    assert pruning.halving([0.75], OTHERS) == (
        "best 0.75 after epoch 1 is number 2 of 4, of which 1 go on"
    )


@pytest.mark.parametrize(
    ("history", "is_stopped"),
    [
        # One of four goes on after epoch 1.
        ([0.69], False),
        ([0.7], False),
        ([0.71], True),
        ([math.nan], True),
        # No rung.
        ([0.9, 0.9], False),
        ([0.9] * 6, False),
        # After epoch 3 the best of the others is 0.1.
        ([0.9, 0.05, 0.9], False),
        ([0.9, 0.9, 0.2], True),
        # Alone there.
        ([0.9] * 9, False),
        ([], False),
    ],
)
def test_best_third_of_a_rung_goes_on(history, is_stopped):
    reason = pruning.halving(history, OTHERS)
    assert (reason is not None) == is_stopped


def test_fewer_than_the_factor_all_go_on():
    two = {0: [0.1], 1: [0.2]}
    assert pruning.halving([0.3], {0: [0.1]}) is None
    assert pruning.halving([0.3], two) is not None
    assert pruning.halving([0.3], two, factor=4) is None


def test_rungs_are_powers_of_the_factor():
    others = {k: [0.1] * 100 for k in range(10)}
    stopped = [
        epoch
        for epoch in range(1, 101)
        if pruning.halving([0.9] * epoch, others, factor=2)
    ]
    assert stopped == [1, 2, 4, 8, 16, 32, 64]


def test_from_best_to_worst_those_without_comparison_go_on():
    ended = {}
    kept = []
    for k in range(81):
        if pruning.halving([k / 81], ended) is None:
            kept.append(k)
        ended[k] = [k / 81]
    assert kept == [0, 1]
