"""The schedule against a count of steps by hand, and the spreading of work."""

import itertools

import numpy as np
import pytest

from tfwd.kfac import schedule as schedule_lib

STEPS = 250
UNITS = 7
PERIODS = [(10, 100), (1, 1), (7, 20), (30, 15), (5, 400)]
SLOTS = [(0,) * UNITS, (0, 14, 28, 42, 57, 71, 85), (3, 3, 3, 0, 1, 1, 2)]
ALL = tuple(range(UNITS))


def algorithm(slots, factor_every, inverse_every):
    """Yields (step, before, after): Algorithm 1 of Zhang et al. 2019.

    Factors are due in steps 0, T_cov, 2·T_cov, ... and with the batch of the
    step, before it; each is (factors, units).
    """
    for step in range(STEPS):
        inverses = ALL if step == 0 else due(slots, step, inverse_every)
        yield step, (step % factor_every == 0, inverses), (False, ())


def authors(slots, factor_every, inverse_every, cold_started):
    """Their code counts steps from 1 and works when one is done."""
    for step in range(STEPS):
        start = step == 0 and not cold_started
        done = step + 1
        yield (
            step,
            (start, ALL if start else ()),
            (done % factor_every == 0, due(slots, done, inverse_every)),
        )


def due(slots, step, every):
    return tuple(
        unit for unit, slot in enumerate(slots) if step % every == slot
    )


def as_tuple(work):
    return work.factors, work.inverses


def usable(slots, inverse_every):
    return tuple(slot % inverse_every for slot in slots)


@pytest.mark.parametrize(("factor_every", "inverse_every"), PERIODS)
@pytest.mark.parametrize("slots", SLOTS)
@pytest.mark.parametrize("cold_started", [False, True])
def test_algorithm_order_works_before_the_step(
    slots, factor_every, inverse_every, cold_started
):
    slots = usable(slots, inverse_every)
    schedule = schedule_lib.Schedule(
        slots, factor_every, inverse_every, cold_started=cold_started
    )
    for step, before, after in algorithm(slots, factor_every, inverse_every):
        assert as_tuple(schedule.before(step)) == before
        assert as_tuple(schedule.after(step)) == after


@pytest.mark.parametrize(("factor_every", "inverse_every"), PERIODS)
@pytest.mark.parametrize("slots", SLOTS)
@pytest.mark.parametrize("cold_started", [False, True])
def test_authors_order_works_after_the_step(
    slots, factor_every, inverse_every, cold_started
):
    slots = usable(slots, inverse_every)
    schedule = schedule_lib.Schedule(
        slots,
        factor_every,
        inverse_every,
        authors_order=True,
        cold_started=cold_started,
    )
    for step, before, after in authors(
        slots, factor_every, inverse_every, cold_started
    ):
        assert as_tuple(schedule.before(step)) == before
        assert as_tuple(schedule.after(step)) == after


def test_the_first_step_never_meets_inverses_that_do_not_exist():
    for authors_order, slots in itertools.product((False, True), SLOTS):
        schedule = schedule_lib.Schedule(slots, 10, 100, authors_order)
        assert as_tuple(schedule.before(0)) == (True, ALL)


def test_the_published_settings_do_as_much_as_the_paper_says():
    """Every 10 steps and every 100: 25 and 3 times in 250, the first among."""
    for authors_order in (False, True):
        schedule = schedule_lib.Schedule((0,) * UNITS, 10, 100, authors_order)
        works = [
            work(step)
            for step in range(STEPS)
            for work in (schedule.before, schedule.after)
        ]
        # In the authors' order the 25 are beside the first, and step 250's
        # factors are done before the end.
        assert sum(w.factors for w in works) == 25 + authors_order
        assert sum(bool(w.inverses) for w in works) == 3
        assert {w.inverses for w in works} == {(), ALL}


@pytest.mark.parametrize("parts", [1, 2, 4])
@pytest.mark.parametrize("authors_order", [False, True])
@pytest.mark.parametrize("cold_started", [False, True])
def test_all_batches_of_an_accumulated_step_enter_and_the_last_one_inverts(
    parts, authors_order, cold_started
):
    slots = usable(SLOTS[1], 20)
    settings = (slots, 7, 20, authors_order, cold_started)
    plain = schedule_lib.Schedule(*settings)
    schedule = schedule_lib.Schedule(*settings, accumulation=parts)
    for batch in range(STEPS):
        step, part = divmod(batch, parts)
        for actual, whole in (
            (schedule.before(batch), plain.before(step)),
            (schedule.after(batch), plain.after(step)),
        ):
            assert actual.factors == whole.factors
            is_last = part == parts - 1
            assert actual.inverses == (whole.inverses if is_last else ())


@pytest.mark.parametrize("authors_order", [False, True])
@pytest.mark.parametrize("count", [1, 2, 3, 7, 20, 23, 60])
def test_staggered_units_are_each_refreshed_once_in_any_period(
    authors_order, count
):
    period = 20
    costs = [float(1 + i % 5) ** 3 for i in range(count)]
    slots = schedule_lib.staggered_slots(costs, period)
    schedule = schedule_lib.Schedule(slots, 10, period, authors_order)
    work = schedule.after if authors_order else schedule.before
    refreshed = [work(step).inverses for step in range(STEPS)]
    # After the first step, which refreshes all in the algorithm's order.
    for start in range(1, STEPS - period):
        units = itertools.chain(*refreshed[start : start + period])
        assert sorted(units) == list(range(count))


@pytest.mark.parametrize("count", [1, 2, 3, 7, 13, 99, 100])
def test_few_units_stand_alone_and_at_equal_distances(count):
    slots = schedule_lib.staggered_slots([1.0] * count, 100)
    assert len(set(slots)) == count
    assert slots[0] == 0
    gaps = np.diff([*slots, slots[0] + 100])
    assert gaps.min() >= 100 // count
    assert gaps.max() <= -(-100 // count)


@pytest.mark.parametrize("count", [1, 10, 90, 95])
def test_units_keep_off_the_steps_with_factors_while_there_is_room(count):
    slots = schedule_lib.staggered_slots([1.0] * count, 100, factor_every=10)
    assert len(set(slots)) == count
    assert all(slot % 10 for slot in slots) == (count <= 90)


def test_many_units_share_steps_of_nearly_equal_load():
    costs = [float(1 + (37 * i) % 101) ** 3 for i in range(400)]
    slots = schedule_lib.staggered_slots(costs, 100)
    assert set(slots) == set(range(100))
    loads = np.bincount(slots, weights=costs)
    mean, largest = np.mean(loads), max(costs)
    # Any list schedule keeps the first bound (Graham 1966): when the unit that
    # tops the fullest step was put there, all others were as full.
    assert loads.max() <= mean + largest * (1 - 1 / 100)
    assert loads.max() <= 4 / 3 * max(mean, largest)


def test_balanced_loads_are_within_a_third_of_the_best_by_brute_force():
    """(4/3 − 1/(3m))·OPT for m bins (Graham 1969, Theorem 3)."""
    generator = np.random.default_rng(0)
    worst = 1.0
    for bins in (1, 2, 3):
        for _ in range(15):
            costs = list(generator.integers(1, 30, size=7).astype(float))
            assigned = schedule_lib.balanced(costs, bins)
            load = np.bincount(assigned, weights=costs).max()
            best = min(
                np.bincount(choice, weights=costs).max()
                for choice in itertools.product(range(bins), repeat=7)
            )
            assert load <= (4 / 3 - 1 / (3 * bins)) * best + 1e-9
            worst = max(worst, load / best)
    assert worst > 1.0


def test_balanced_meets_the_example_in_which_it_is_worst():
    """Graham 1969: 3, 3, 2, 2, 2 on two machines take 7, at best 6."""
    costs = [2.0, 3.0, 2.0, 3.0, 2.0]
    assigned = schedule_lib.balanced(costs, 2)
    assert np.bincount(assigned, weights=costs).tolist() == [7.0, 5.0]


def test_balanced_gives_every_bin_a_unit_where_there_are_enough():
    assert set(schedule_lib.balanced([1.0] * 4, 4)) == {0, 1, 2, 3}
    assert schedule_lib.balanced([5.0], 3) == (0,)
    assert schedule_lib.balanced([], 3) == ()


@pytest.mark.parametrize("authors_order", [False, True])
@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("cold_started", [False, True])
def test_idle_batches_are_those_before_the_next_work(
    authors_order, parts, cold_started
):
    schedule = schedule_lib.Schedule(
        (0, 4, 9), 5, 12, authors_order, cold_started, parts
    )
    limit = 6
    for batch in range(STEPS):
        idle = 0
        while idle < limit and not (
            any(as_tuple(schedule.before(batch + idle)))
            or any(as_tuple(schedule.after(batch + idle)))
        ):
            idle += 1
        assert schedule.idle_batches(batch, limit) == idle


def test_no_work_is_false():
    assert not schedule_lib.Work()
    assert schedule_lib.Work(factors=True)
    assert schedule_lib.Work(inverses=(0,))
