"""The division into training and validation examples is fixed."""

import numpy as np
import pytest

from tfwd.data import in_memory
from tfwd.data import partition


def numbered(size):
    """A data set whose label is the example's number."""
    labels = np.arange(size, dtype=np.int32)
    train = in_memory.Examples(labels[:, None, None, None] / size, labels)
    return in_memory.Splits(
        "numbers", train, None, train, size, (1, 1, 1), (0.0,), (1.0,)
    )


def test_training_and_validation_share_nothing_and_miss_nothing():
    splits = partition.hold_out(numbered(97), num_validation=20)
    assert len(splits.validation) == 20
    together = np.concatenate([splits.train.labels, splits.validation.labels])
    np.testing.assert_array_equal(np.sort(together), np.arange(97))


def test_an_example_keeps_its_image():
    splits = partition.hold_out(numbered(97), 20, 0.5)
    for part in (splits.train, splits.validation):
        np.testing.assert_array_equal(part.images[:, 0, 0, 0], part.labels / 97)


def test_held_out_examples_do_not_depend_on_the_training_fraction():
    whole = partition.hold_out(numbered(97), num_validation=20)
    part = partition.hold_out(numbered(97), 20, train_fraction=0.1)
    np.testing.assert_array_equal(
        part.validation.labels, whole.validation.labels
    )


def test_a_smaller_training_set_is_part_of_a_larger_one():
    small, large = (
        set(partition.hold_out(numbered(97), 17, fraction).train.labels)
        for fraction in (0.25, 0.75)
    )
    assert (len(small), len(large)) == (20, 60)
    assert small < large


def test_the_smallest_fraction_leaves_one_example():
    splits = partition.hold_out(numbered(10), train_fraction=1e-9)
    assert len(splits.train) == 1


def test_nothing_held_out_leaves_the_training_set_as_it_was():
    splits = partition.hold_out(numbered(97))
    assert splits.validation is None
    np.testing.assert_array_equal(splits.train.labels, np.arange(97))


def test_the_held_out_examples_of_cifar_are_the_same_for_ever():
    """First numbers of RandomState(20190507).permutation(50000)."""
    np.testing.assert_array_equal(
        partition.fixed_permutation(50000)[:5],
        [37305, 18396, 40989, 4468, 34523],
    )


def test_the_splits_that_there_are_can_be_asked_for():
    whole = partition.hold_out(numbered(97))
    assert whole.split_names == ("train", "test")
    divided = partition.hold_out(numbered(97), num_validation=20)
    assert divided.split_names == ("train", "validation", "test")
    sizes = [divided.size(name) for name in divided.split_names]
    assert sizes == [77, 20, 97]
    with pytest.raises(ValueError) as error:
        whole.size("validation")
    assert str(error.value) == (
        "`split` must be one of train, test. Received: split=validation"
    )


@pytest.mark.parametrize("num_validation", [-1, 97, 98])
def test_a_validation_set_that_cannot_be_held_out_is_refused(num_validation):
    with pytest.raises(ValueError, match=f"=.*{num_validation}$") as error:
        partition.hold_out(numbered(97), num_validation)
    assert "training set of 97 examples" in str(error.value)


@pytest.mark.parametrize("fraction", [0.0, -0.5, 1.01, float("nan")])
def test_a_fraction_outside_of_0_to_1_is_refused(fraction):
    with pytest.raises(ValueError, match=r"`train_fraction` must be in \(0"):
        partition.hold_out(numbered(97), train_fraction=fraction)
