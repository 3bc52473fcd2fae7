"""ImageNet's records come in one reproducible order and are cropped right.

Covers `image_files`, `records` and `jpeg`.
"""

import io
import json
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tfwd import data
from tfwd.data import augmentation
from tfwd.data import jpeg
from tfwd.data import records
from tfwd_tests.data import feeding
from tfwd_tests.data import jpegs


def finely_encoded(image):
    return tf.io.encode_jpeg(image, quality=100, chroma_downsampling=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """23 training and 7 other images of different sizes."""
    data_dir = tmp_path_factory.mktemp("data")
    jpegs.write(
        data_dir,
        [jpegs.ramp(40 + n, 60 - n) for n in range(23)],
        [jpegs.ramp(30, 30 + n) for n in range(7)],
    )
    return data_dir


def training(source, batch_size, num_steps, **arguments):
    """Per step, per replica: the batches of `Source.training_batches`."""
    arguments = {"seed": 1, "augment": True} | arguments
    dataset = source.training_batches(batch_size, **arguments)
    shard = arguments.get("shard", data.Shard())
    return feeding.steps_of(dataset, num_steps, shard.count)


def evaluation(source, split, batch_size, **arguments):
    """All batches of `Source.evaluation_batches`, twice the same."""
    dataset = source.evaluation_batches(split, batch_size, **arguments)
    assert None not in dataset.element_spec.inputs.shape
    first, second = (
        [data.Batch(*(tensor.numpy() for tensor in batch)) for batch in dataset]
        for _ in range(2)
    )
    assert len(first) == dataset.cardinality()
    feeding.assert_equal(feeding.joined(first), feeding.joined(second))
    return first


def labels_of(steps):
    return feeding.joined([part for parts in steps for part in parts]).labels


def test_a_folder_is_described_as_it_is(folder):
    source = data.load("imagenet2012", folder, num_validation=3)
    assert source.num_classes == 1000
    assert source.image_shape == (224, 224, 3)
    assert source.split_names == ("train", "validation", "test")
    sizes = [source.size(name) for name in source.split_names]
    assert sizes == [20, 3, 7]
    assert source.training_steps(8) == 3
    assert source.evaluation_steps("test", 4) == 2


def test_an_epoch_holds_every_example_once_in_an_order_of_its_own(folder):
    steps = training(jpegs.opened(folder), 5, 15)
    assert [len(step[0].labels) for step in steps] == [5, 5, 5, 5, 3] * 3
    epochs = np.split(labels_of(steps), 3)
    for order in epochs:
        np.testing.assert_array_equal(np.sort(order), np.arange(23))
    other = labels_of(training(jpegs.opened(folder), 5, 5, seed=2))
    for a, b in ((0, 1), (1, 2), (0, 2)):
        assert np.any(epochs[a] != epochs[b])
    assert np.any(epochs[0] != other)


def test_shards_are_merged_in_every_order_but_read_from_the_beginning():
    seen = set()
    for epoch in range(200):
        seed = tf.constant([0, epoch], tf.int64)
        turns, indices = records.random_order([2, 1], seed)
        turns, indices = turns.numpy().tolist(), indices.numpy().tolist()
        expected = {0: iter([0, 1]), 1: iter([2])}
        assert indices == [next(expected[turn]) for turn in turns]
        seen.add(tuple(turns))
    assert seen == {(0, 0, 1), (0, 1, 0), (1, 0, 0)}


def test_no_more_than_32_shards_are_open_at_a_time():
    turns, _ = records.random_order([3] * 100, tf.constant([0, 0], tf.int64))
    groups = np.split(turns.numpy(), [96, 192, 288])
    shards = [set(group.tolist()) for group in groups]
    assert [len(group) for group in shards] == [32, 32, 32, 4]
    assert set.union(*shards) == set(range(100))


@pytest.mark.many
def test_a_later_start_continues_as_if_never_interrupted(folder):
    source = jpegs.opened(folder)
    shard = data.Shard(3, 1, 2)
    whole = training(source, 5, 11, shard=shard)
    for epoch, step in ((0, 2), (1, 4)):
        rest = training(
            source, 5, 2, shard=shard, first_epoch=epoch, first_step=step
        )
        for parts, expected in zip(
            rest, whole[5 * epoch + step :], strict=False
        ):
            for part, expected_part in zip(parts, expected, strict=True):
                feeding.assert_equal(part, expected_part)


@pytest.mark.parametrize(
    ("batch_size", "shards"),
    [
        (5, [data.Shard(2, 0, 2)]),
        (11, [data.Shard(3, 0, 1), data.Shard(3, 1, 2)]),
    ],
)
def test_the_replicas_share_out_exactly_what_one_sees(
    folder, batch_size, shards
):
    """Batches of 11 leave one example: all replicas but one are idle."""
    source = jpegs.opened(folder)
    steps = source.training_steps(batch_size) + 1
    whole = training(source, batch_size, steps)
    workers = [
        training(source, batch_size, steps, shard=shard) for shard in shards
    ]
    for (expected,), *parts in zip(whole, *workers, strict=True):
        parts = sum(parts, [])
        sizes = [len(part.labels) for part in parts]
        assert max(sizes) - min(sizes) <= 1
        feeding.assert_equal(feeding.joined(parts), expected)
        # 1/5, 1/3 and 1/11 are rounded to float32.
        np.testing.assert_allclose(expected.weights.sum(), 1, rtol=1e-6)


@pytest.mark.many
def test_the_first_examples_are_held_out_and_a_part_of_the_others_kept(folder):
    """round(0.5 * 19) = 10 are trained on, here without augmentation."""
    source = jpegs.opened(folder, 4, 0.5)
    (validation,) = evaluation(source, "validation", 4)
    np.testing.assert_array_equal(validation.labels, np.arange(4))
    steps = training(source, 5, 2, seed=9, augment=False, first_epoch=3)
    batch = feeding.joined([step[0] for step in steps])
    order = np.argsort(batch.labels)
    (kept,) = evaluation(source, "train", 10)
    np.testing.assert_array_equal(kept.labels, np.arange(4, 14))
    np.testing.assert_array_equal(batch.labels[order], kept.labels)
    np.testing.assert_array_equal(batch.inputs[order], kept.inputs)
    # The number in the folder, held-out examples included.
    keys = augmentation.hashed(9, tf.constant(3), tf.constant(batch.labels))
    np.testing.assert_array_equal(batch.keys, keys)


@pytest.mark.parametrize(
    "shards",
    [
        [data.Shard()],
        [data.Shard(3, 0, 3)],
        [data.Shard(3), data.Shard(3, 1, 2)],
    ],
)
def test_evaluation_sees_every_example_once(folder, shards):
    """Batches of 3 leave one of 7 examples: the other replicas get none."""
    source = jpegs.opened(folder)
    parts = []
    for shard in shards:
        width = -(-3 // shard.num_replicas)
        own = evaluation(source, "test", 3, shard=shard)
        assert len(own) == 3 * shard.count
        assert all(part.inputs.shape[0] == width for part in own)
        parts += own
    whole = feeding.joined(parts)
    real = whole.weights == 1
    np.testing.assert_array_equal(np.sort(whole.labels[real]), np.arange(7))
    assert not np.any(whole.weights[~real])
    assert not np.any(whole.keys)


def test_a_worker_does_not_decode_the_examples_of_others(tmp_path):
    """Example 0 is no image: only the worker that has it fails."""
    images = [io.BytesIO(b"no image")] + [jpegs.ramp(20, 20)] * 7
    jpegs.write(tmp_path, images[1:], images)

    def labels_for(replica):
        shard = data.Shard(2, replica)
        parts = evaluation(jpegs.opened(tmp_path), "test", 4, shard=shard)
        return feeding.joined(parts).labels

    np.testing.assert_array_equal(labels_for(1), [2, 3, 6, 7])
    with pytest.raises(tf.errors.InvalidArgumentError, match="JPEG"):
        labels_for(0)


def test_finishing_on_the_device_gives_the_same_bits(folder):
    source = jpegs.opened(folder)
    arguments = {"seed": 2, "augment": True}
    raw = source.training_batches(5, finished=False, **arguments)
    assert raw.element_spec.inputs.dtype == tf.uint8
    assert raw.element_spec.inputs.shape.as_list() == [
        None,
        jpegs.SIZE,
        jpegs.SIZE,
        3,
    ]
    compiled = tf.function(
        lambda batch: source.finish(batch, True), jit_compile=True
    )
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    finished = training(source, 5, 2, **arguments)
    for batch, (expected,) in zip(raw.take(2), finished, strict=True):
        ours = [tensor.numpy() for tensor in compiled(batch)]
        feeding.assert_equal(ours, expected)
        # float32 rounds the mean and the scale: a few units of 6e-8 at 3.
        np.testing.assert_allclose(
            expected.inputs,
            (batch.inputs.numpy() / 255 - mean) / std,
            rtol=0,
            atol=1e-6,
        )


def test_the_central_crop_is_that_of_an_image_resized_to_8_7_of_its_size():
    """80x120 pixels become 64x96, of which rows 4 to 60 are cropped.

    Resizing a ramp gives the ramp at the centers of the new pixels; JPEG and
    rounding change it by a few grey levels of 255.
    """
    encoded = finely_encoded(jpegs.ramp(80, 120))
    image = jpeg.central_crop(encoded, 56).numpy().astype(int)
    assert image.shape == (56, 56, 3)
    rows = 2 * ((np.arange(56) + 4 + 0.5) * 80 / 64 - 0.5)
    columns = 2 * ((np.arange(56) + 20 + 0.5) * 80 / 64 - 0.5)
    expected = np.broadcast_arrays(columns, rows[:, None], 128)
    np.testing.assert_allclose(image, np.stack(expected, -1), atol=4)


def test_a_random_crop_is_its_window_resized_and_mirrored_by_the_last_bit():
    height, width = 100, 120
    encoded = finely_encoded(jpegs.ramp(height, width))
    for key in tf.constant([1, 2, 77, 1000, 2**32 - 1], tf.uint32):
        image = jpeg.random_crop(encoded, key, 32).numpy().astype(int)
        assert image.shape == (32, 32, 3)
        top, left, h, w = augmentation.crop_window(
            key, tf.constant(height), tf.constant(width)
        ).numpy()
        centers = (np.arange(32) + 0.5) / 32
        # Beyond the center of its last pixel a window goes on evenly.
        rows = 2 * (top + np.clip(centers * h - 0.5, 0, h - 1))
        columns = 2 * (left + np.clip(centers * w - 0.5, 0, w - 1))
        if int(key) % 2:
            columns = columns[::-1]
        expected = np.broadcast_arrays(columns, rows[:, None], 128)
        np.testing.assert_allclose(image, np.stack(expected, -1), atol=4)


def test_records_are_kept_below_a_quarter_of_the_free_memory():
    assert records.fits_in_memory(99, available=400)
    assert not records.fits_in_memory(100, available=400)


def test_records_that_are_kept_come_in_the_same_order_without_files(
    tmp_path, monkeypatch
):
    jpegs.write(
        tmp_path,
        [jpegs.ramp(40 + n, 60 - n) for n in range(23)],
        [jpegs.ramp(9, 9)],
    )
    monkeypatch.setattr(records, "fits_in_memory", lambda *_: False)
    expected = training(jpegs.opened(tmp_path), 5, 50)
    monkeypatch.setattr(records, "fits_in_memory", lambda *_: True)
    batches = iter(
        jpegs.opened(tmp_path).training_batches(5, seed=1, augment=True)
    )
    for number, (batch,) in enumerate(expected):
        ours = [tensor.numpy() for tensor in next(batches)]
        feeding.assert_equal(ours, batch)
        # By the end of the third epoch every file was read to its end.
        if number == 15:
            shutil.rmtree(tmp_path)


def test_another_file_format_is_refused(folder, tmp_path):
    path = pathlib.Path("imagenet2012", "5.1.0", "dataset_info.json")
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    info = json.loads((folder / path).read_text())
    info["fileFormat"] = "array_record"
    (tmp_path / path).write_text(json.dumps(info))
    with pytest.raises(ValueError, match="Received: array_record files in"):
        jpegs.opened(tmp_path)


def test_a_folder_without_the_original_validation_images_is_refused(tmp_path):
    jpegs.write(tmp_path, [jpegs.ramp(9, 9)] * 2, [])
    with pytest.raises(ValueError, match="splits train and validation") as info:
        jpegs.opened(tmp_path)
    assert str(info.value).endswith("without validation")


def test_a_missing_folder_is_refused_with_how_to_make_it(tmp_path):
    with pytest.raises(ValueError, match="ILSVRC2012_img_train.tar") as error:
        jpegs.opened(tmp_path)
    assert "\n" not in str(error.value)


def test_a_batch_that_leaves_a_replica_without_examples_is_refused(folder):
    shard = data.Shard(3, 0, 1)
    with pytest.raises(ValueError, match="replicas, 3. Received: batch_size=2"):
        training(jpegs.opened(folder), 2, 1, shard=shard)
    with pytest.raises(ValueError, match="replicas, 3. Received: batch_size=2"):
        jpegs.opened(folder).evaluation_batches("test", 2, shard=shard)
