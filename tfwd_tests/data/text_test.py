"""Text becomes streams that predict every token once and run on."""

import numpy as np
import pytest
import tensorflow as tf

from tfwd.data import batches
from tfwd.data import text


def numbered(size, bptt):
    """A text whose token number i is i."""
    tokens = np.arange(size, dtype=np.int32)
    names = tuple(map(str, tokens))
    return text.Text("numbers", tokens, tokens[:9], tokens[:4], names, bptt)


def brute_force(size, num_streams, bptt):
    """Returns {(segment, stream, time): position} of `size` predictions."""
    length = -(-size // num_streams)
    places = {}
    for position in range(size):
        stream, time = divmod(position, length)
        places[time // bptt, stream, time % bptt] = position
    return places


def training(source, batch_size, steps, **kwargs):
    """Returns the first `steps` batches of the replicas of a shard."""
    shard = kwargs.get("shard", batches.Shard())
    kwargs = {"seed": 3, "augment": False, **kwargs}
    dataset = source.training_batches(batch_size, **kwargs)
    assert dataset.cardinality() == tf.data.INFINITE_CARDINALITY
    return list(dataset.take(steps * shard.count).as_numpy_iterator())


# The first fills all streams and segments; the second ends within a stream and
# a segment; the last two leave streams empty.
SHAPES = [(9, 2, 2), (24, 3, 5), (25, 1, 5), (9, 4, 5), (25, 7, 4), (9, 7, 1)]


@pytest.mark.parametrize("size, num_streams, bptt", SHAPES)
def test_the_layout_is_that_of_a_loop_over_the_predictions(
    size, num_streams, bptt
):
    source = numbered(size, bptt)
    steps = source.training_steps(num_streams)
    places = brute_force(size - 1, num_streams, bptt)
    assert steps == 1 + max(segment for segment, _, _ in places)
    inputs = np.zeros((steps, num_streams, bptt), np.int32)
    labels, there = np.zeros_like(inputs), np.zeros_like(inputs)
    for place, position in places.items():
        inputs[place] = source.train[position]
        labels[place] = source.train[position + 1]
        there[place] = 1
    for segment, batch in enumerate(training(source, num_streams, steps)):
        np.testing.assert_array_equal(batch.inputs, inputs[segment])
        np.testing.assert_array_equal(batch.labels, labels[segment])
        count = there[segment].sum()
        np.testing.assert_allclose(batch.weights, there[segment] / count)
        assert batch.weights.dtype == np.float32


@pytest.mark.parametrize("size, num_streams, bptt", SHAPES)
def test_evaluation_predicts_every_token_but_the_first_once(
    size, num_streams, bptt
):
    source = numbered(size, bptt)
    dataset = source.evaluation_batches("train", num_streams)
    steps = source.evaluation_steps("train", num_streams)
    assert dataset.cardinality() == steps
    elements = list(dataset.as_numpy_iterator())
    labels, inputs, weights = (
        np.concatenate([getattr(batch, name).ravel() for batch in elements])
        for name in ("labels", "inputs", "weights")
    )
    assert set(weights) <= {0.0, 1.0}
    np.testing.assert_array_equal(
        np.sort(labels[weights == 1]), np.arange(1, size)
    )
    np.testing.assert_array_equal(
        inputs[weights == 1], labels[weights == 1] - 1
    )


def test_a_stream_runs_on_from_segment_to_segment():
    source = numbered(50, bptt=4)
    elements = training(source, 3, source.training_steps(3))
    streams = np.concatenate([batch.inputs for batch in elements], axis=1)
    weights = np.concatenate([batch.weights for batch in elements], axis=1)
    for stream, weight in zip(streams, weights, strict=True):
        words = stream[weight > 0]
        np.testing.assert_array_equal(words, words[0] + np.arange(len(words)))


@pytest.mark.parametrize("num_replicas", [1, 2, 3])
def test_the_replicas_rows_together_are_those_of_one(num_replicas):
    source = numbered(60, bptt=4)
    shard = batches.Shard(num_replicas, first=0, count=num_replicas)
    whole = training(source, 7, steps=6)
    parts = training(source, 7, steps=6, shard=shard)
    for step, expected in enumerate(whole):
        shares = parts[step * num_replicas : (step + 1) * num_replicas]
        for name in batches.Batch._fields:
            np.testing.assert_array_equal(
                np.concatenate([getattr(share, name) for share in shares]),
                getattr(expected, name),
            )


def test_a_worker_is_fed_the_streams_of_its_own_replicas_only():
    source = numbered(60, bptt=4)
    everyone = batches.Shard(num_replicas=4, first=0, count=4)
    worker = batches.Shard(num_replicas=4, first=2, count=2)
    for name, dataset in (
        ("training", lambda shard: training(source, 6, 4, shard=shard)),
        (
            "evaluation",
            lambda shard: list(
                source.evaluation_batches(
                    "train", 6, shard=shard
                ).as_numpy_iterator()
            ),
        ),
    ):
        expected = [
            batch
            for number, batch in enumerate(dataset(everyone))
            if number % 4 in (2, 3)
        ]
        received = dataset(worker)
        assert len(received) == len(expected), name
        for ours, theirs in zip(received, expected, strict=True):
            for field in batches.Batch._fields:
                np.testing.assert_array_equal(
                    getattr(ours, field), getattr(theirs, field)
                )


def test_the_weights_of_a_step_sum_to_1_over_all_replicas():
    source = numbered(61, bptt=4)
    shard = batches.Shard(num_replicas=2, first=0, count=2)
    elements = training(source, 7, steps=9, shard=shard)
    for first, second in zip(elements[::2], elements[1::2], strict=True):
        total = first.weights.sum() + second.weights.sum()
        np.testing.assert_allclose(total, 1, rtol=1e-6)


def test_keys_name_the_seed_the_epoch_the_stream_and_the_segment():
    source = numbered(60, bptt=4)
    steps = source.training_steps(5)
    keys = np.concatenate(
        [
            batch.keys
            for seed in (3, 4)
            for batch in training(source, 5, 2 * steps, seed=seed)
        ]
    )
    assert keys.dtype == np.uint32
    assert len(set(keys)) == len(keys) == 2 * 2 * steps * 5


def test_an_epoch_ends_and_the_text_begins_again():
    source = numbered(60, bptt=4)
    steps = source.training_steps(5)
    elements = training(source, 5, 2 * steps)
    for first, second in zip(elements[:steps], elements[steps:], strict=True):
        np.testing.assert_array_equal(first.inputs, second.inputs)
        assert not set(first.keys) & set(second.keys)


def test_a_later_start_is_the_same_as_skipping():
    source = numbered(60, bptt=4)
    steps = source.training_steps(5)
    shard = batches.Shard(num_replicas=2, first=0, count=2)
    whole = training(source, 5, 2 * steps + 3, shard=shard)
    resumed = training(source, 5, 2, shard=shard, first_epoch=2, first_step=1)
    for ours, theirs in zip(resumed, whole[2 * (2 * steps + 1) :], strict=True):
        for name in batches.Batch._fields:
            np.testing.assert_array_equal(
                getattr(ours, name), getattr(theirs, name)
            )


def test_equal_shares_have_a_static_shape():
    source = numbered(60, bptt=4)
    shard = batches.Shard(num_replicas=2, first=1, count=1)
    for dataset in (
        source.training_batches(6, seed=1, augment=False, shard=shard),
        source.evaluation_batches("test", 2, shard=shard),
    ):
        assert dataset.element_spec.inputs.shape.is_fully_defined()
        assert dataset.element_spec.keys.shape.is_fully_defined()


def test_finish_leaves_a_batch_as_it_is():
    source = numbered(60, bptt=4)
    dataset = source.training_batches(6, seed=1, augment=False, finished=False)
    batch = next(iter(dataset))
    assert source.finish(batch, augment=False) is batch


@pytest.mark.parametrize("batch_size", [0, -1, 4])
def test_a_split_too_short_for_the_streams_is_refused(batch_size):
    """The test split has 3 predictions."""
    with pytest.raises(ValueError, match=f"the 3 .*={batch_size}$"):
        numbered(60, 4).evaluation_batches("test", batch_size)


def test_training_on_more_streams_than_predictions_is_refused():
    source = numbered(60, 4)
    assert source.training_steps(59) == 1
    for function in (source.training_steps, lambda n: training(source, n, 1)):
        with pytest.raises(ValueError, match=r"the 59 .*batch_size=60$"):
            function(60)


def test_augmentation_and_steps_beyond_the_epoch_are_refused():
    source = numbered(60, 4)
    with pytest.raises(ValueError, match=r"`augment` .*augment=True$"):
        training(source, 5, 1, augment=True)
    steps = source.training_steps(5)
    with pytest.raises(ValueError, match=f"`first_step` .*={steps}$"):
        training(source, 5, 1, first_step=steps)


def test_a_split_of_another_name_is_refused():
    with pytest.raises(ValueError, match=r"`split` must be .*split=valid$"):
        numbered(60, 4).evaluation_batches("valid", 2)
