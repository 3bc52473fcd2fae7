"""Recurrent states: every replica keeps those of its own streams."""

import numpy as np
import pytest

from tfwd import models
from tfwd.training.loop import recurrent_state
from tfwd_tests.training import looping

STREAMS, UNITS = 4, 3


def made_state(replicas, streams=STREAMS):
    strategy = looping.mirrored(replicas)
    with strategy.scope():
        model = models.build("lstm", (None,), 5, hidden_units=UNITS)
    return recurrent_state.RecurrentState(strategy, model, streams)


def numbers():
    """The states h and c of two layers, to be told apart."""
    shape = (4, STREAMS, UNITS)
    return list(np.arange(np.prod(shape), dtype=np.float32).reshape(shape))


def assert_gathered(state, expected):
    found = state.gathered()
    assert list(found) == ["state0", "state1", "state2", "state3"]
    for one, other in zip(found.values(), expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("replicas", [1, 2])
def test_what_is_assigned_is_gathered_in_the_order_of_the_streams(replicas):
    state = made_state(replicas)
    assert_gathered(state, np.zeros_like(numbers()))
    state.assign(numbers())
    assert_gathered(state, numbers())
    state.reset()
    assert_gathered(state, np.zeros_like(numbers()))


def test_replica_has_the_rows_of_its_streams():
    state = made_state(2)
    state.assign(numbers())
    for replica in range(2):
        rows = slice(2 * replica, 2 * replica + 2)
        for one, other in zip(
            state.of_replica(replica), numbers(), strict=True
        ):
            np.testing.assert_array_equal(one, other[rows])


@pytest.mark.parametrize("replicas", [1, 2])
def test_states_pass_between_numbers_of_replicas(replicas):
    one = made_state(replicas)
    one.assign(numbers())
    other = made_state(3 - replicas)
    other.assign(list(one.gathered().values()))
    assert_gathered(other, numbers())


def test_update_keeps_the_states_unless_told_not_to():
    state = made_state(2)
    state.assign(numbers())

    def on_replica(factor, condition):
        states = [factor * each for each in state.values()]
        state.update(states, condition)

    state.strategy.run(on_replica, (2.0, True))
    state.strategy.run(on_replica, (np.nan, False))
    assert_gathered(state, [2 * each for each in numbers()])


def test_streams_that_the_replicas_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="by the 2 replicas.*batch_size=3"):
        made_state(2, streams=3)
