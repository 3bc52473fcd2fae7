"""Small data sets in TensorFlow Datasets' form, and ways to damage them.

Written from the form's description, in files that a test can read at a glance:
two shards of three images for training, one of two for testing.
"""

import itertools
import json
import struct

import numpy as np
import tensorflow as tf

SHAPES = {
    "mnist": (28, 28, 1),
    "cifar10": (32, 32, 3),
    "cifar100": (32, 32, 3),
    "imagenet2012": (-1, -1, 3),
}
CLASSES = {"mnist": 10, "cifar10": 10, "cifar100": 100, "imagenet2012": 1000}
LENGTHS = {"train": (3, 3), "test": (2,)}
MODULE = "tensorflow_datasets.core.features"


def test_split(name):
    """What the folder calls the test split."""
    return "validation" if name == "imagenet2012" else "test"


def image(name, number):
    """An encoded image, of one gray."""
    shape = [size if size > 0 else 9 for size in SHAPES[name]]
    pixels = np.full(shape, 10 * number, np.uint8)
    if name == "imagenet2012":
        return tf.io.encode_jpeg(pixels).numpy()
    return tf.io.encode_png(pixels).numpy()


def example(**features):
    """A serialized tf.train.Example; bytes and ints are its features."""
    feature = {
        key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        if isinstance(value, bytes)
        else tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
        for key, value in features.items()
    }
    features = tf.train.Features(feature=feature)
    return tf.train.Example(features=features).SerializeToString()


def write_records(path, records):
    """Writes a TFRecord file."""
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)


def write(data_dir, name="mnist", version="3.0.1", lengths=LENGTHS):
    """Writes a data set with shards of these lengths; returns its folder."""
    folder = data_dir / name / version
    folder.mkdir(parents=True)
    splits = []
    for split, sizes in lengths.items():
        split = test_split(name) if split == "test" else split
        splits.append(
            {
                "name": split,
                "shardLengths": [str(size) for size in sizes],
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-"
                "{SHARD_X_OF_Y}",
            }
        )
        numbers = iter(range(sum(sizes)))
        for shard, size in enumerate(sizes):
            records = [
                example(image=image(name, number), label=number)
                for number in itertools.islice(numbers, size)
            ]
            file = f"{name}-{split}.tfrecord-{shard:05d}-of-{len(sizes):05d}"
            write_records(folder / file, records)
    info = {"name": name, "version": version, "splits": splits}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    (folder / "features.json").write_text(json.dumps(features(name)))
    return folder


def features(name):
    """What is in a features.json of today."""
    return {
        "pythonClassName": f"{MODULE}.features_dict.FeaturesDict",
        "featuresDict": {
            "features": {
                "image": {
                    "pythonClassName": f"{MODULE}.image_feature.Image",
                    "image": {
                        "shape": {
                            "dimensions": [str(size) for size in SHAPES[name]]
                        },
                        "dtype": "uint8",
                    },
                },
                "label": {
                    "pythonClassName": (
                        f"{MODULE}.class_label_feature.ClassLabel"
                    ),
                    "classLabel": {"numClasses": str(CLASSES[name])},
                },
            }
        },
    }


def shard(folder, number=1):
    """The path of a training file, by default that of the second."""
    return folder / f"{folder.parent.name}-train.tfrecord-{number:05d}-of-00002"


def starts(raw):
    """Where the records of a file begin."""
    found, position = [], 0
    while position < len(raw):
        found.append(position)
        position += 16 + struct.unpack_from("<Q", raw, position)[0]
    return found


def checksum(raw):
    """The masked CRC-32C of a few bytes, bit by bit."""
    crc = 2**32 - 1
    for byte in raw:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 2**32 - 1
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32


def flip(path, record=1, byte=20):
    """Changes a byte of a record: 0 to 7 are its length, 12 on its data."""
    raw = bytearray(path.read_bytes())
    raw[starts(raw)[record] + byte] ^= 0x10
    path.write_bytes(raw)


def set_length(path, length, record=1, with_checksum=True):
    """Gives a record another length, with the checksum that belongs to it."""
    raw = bytearray(path.read_bytes())
    start = starts(raw)[record]
    raw[start : start + 8] = struct.pack("<Q", length)
    if with_checksum:
        masked = checksum(raw[start : start + 8])
        raw[start + 8 : start + 12] = struct.pack("<I", masked)
    path.write_bytes(raw)


def cut(path, num_bytes):
    """Takes away the end of a file."""
    path.write_bytes(path.read_bytes()[:-num_bytes])


def replace(path, record, number=1):
    """Puts other data in the place of a record, with a right checksum."""
    raw = path.read_bytes()
    records = []
    for start in starts(raw):
        (length,) = struct.unpack_from("<Q", raw, start)
        records.append(raw[start + 12 : start + 12 + length])
    records[number] = record
    write_records(path, records)
