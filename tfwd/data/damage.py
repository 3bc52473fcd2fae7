"""Finds the file that is damaged, and the record in it.

A TFRecord file is a sequence of records: the length of the data (8 bytes, the
least significant first), a checksum of the length (4), the data, and a checksum
of the data (4). A checksum is CRC-32C, rotated right by 15 bits, plus
0xa282ead8.
"""

import concurrent.futures
import struct
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfwd.data import examples
from tfwd.data import folder as folder_lib
from tfwd.data import records

HEADER_BYTES, FRAME_BYTES = 12, 16
# A split up to this size is walked through when it is opened.
WALKED_BYTES = 2**30
_AT_ONCE = 16


def check_files(folder: folder_lib.Folder, split: str) -> int:
    """Checks the files of a split without reading the data of a record.

    TensorFlow (2.21) ends the process where the length of a record is too
    large for the memory and has the checksum that belongs to it. So lengths
    are looked at before, except in splits above `WALKED_BYTES`, of which
    there are only the files' sizes.

    Returns:
        The size of the files in bytes.

    Raises:
        ValueError: A file is missing, empty or cut off, or holds another
            number of records than its description tells.
    """
    shards = folder.shards(split)
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        sizes = list(pool.map(lambda shard: _size(folder, shard[0]), shards))
    for (path, count), size in zip(shards, sizes, strict=True):
        if not size:
            raise folder.refusal(path, "it is empty")
        if size < count * FRAME_BYTES:
            raise folder.refusal(
                path,
                f"it has {size} bytes, too few for the {count} records that "
                f"{folder_lib.INFO} tells",
            )
    if sum(sizes) <= WALKED_BYTES:
        for path, count in shards:
            starts(folder, path, count)
    return sum(sizes)


def starts(folder: folder_lib.Folder, path: str, count: int) -> list[int]:
    """Returns where each record of a file begins.

    Args:
        folder: Of the file.
        path: The file.
        count: How many records it must have.

    Raises:
        ValueError: A length is damaged or goes beyond the end of the file, or
            there is another number of records.
    """
    raw = _bytes(folder, path)
    found, headers, position, reason = [], [], 0, None
    while position < len(raw) and reason is None:
        found.append(position)
        header = raw[position : position + HEADER_BYTES]
        if len(header) < HEADER_BYTES:
            reason = "it is cut off at the end of the file"
            break
        headers.append(header)
        rest = len(raw) - position - FRAME_BYTES
        (length,) = struct.unpack_from("<Q", header)
        if length > rest:
            reason = (
                f"it has {length} bytes, and the file ends after {max(rest, 0)}"
            )
        position += FRAME_BYTES + length
    # A damaged length leads astray whatever is found after it.
    for number in np.flatnonzero(~_are_intact(headers))[:1]:
        found, reason = found[: number + 1], "its length is damaged"
    if reason is not None:
        raise folder.refusal(path, f"{_place(found, -1)}: {reason}")
    if len(found) != count:
        raise folder.refusal(
            path,
            f"it holds {len(found)} records, not the {count} that "
            f"{folder_lib.INFO} tells",
        )
    return found


def check_records(
    folder: folder_lib.Folder,
    splits: list[str],
    decode: Callable[[tf.Tensor], object],
):
    """Reads and decodes every record of some splits.

    Args:
        folder: Of the data set.
        splits: Which of its splits.
        decode: Function of an encoded image that fails where training does.

    Raises:
        ValueError: One is damaged; the message names its file.
    """
    shards = [shard for split in splits for shard in folder.shards(split)]
    for split in splits:
        check_files(folder, split)

    def read(serialized):
        encoded, label = examples.parsed(
            serialized, folder.features.num_classes
        )
        # All of it, because what is not returned is not computed.
        return label, decode(encoded)

    for path, count in shards:
        places = starts(folder, path, count)
        whole = records.file_of_records(path)
        read_all = whole.map(
            read, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
        number = 0
        try:
            for _ in read_all:
                number += 1
        except folder_lib.READ_ERRORS as error:
            raise folder.refusal(
                path,
                f"{_place(places, number)}: "
                f"{_explained(folder, whole, number, decode)}",
            ) from error


def _explained(folder, whole, number, decode):
    try:
        (record,) = whole.skip(number).take(1).as_numpy_iterator()
    except tf.errors.DataLossError:
        return "its checksum is wrong"
    except tf.errors.OpError as error:
        return f"it cannot be read ({folder_lib.reason_of(error)})"
    return examples.explained(record, folder.features, decode)


def _place(found, number):
    number %= len(found)
    return f"record {number}, at byte {found[number]}"


def _size(folder, path):
    try:
        return tf.io.gfile.stat(path).length
    except tf.errors.OpError as error:
        raise folder.refusal(path, folder_lib.failure(error)) from error


def _bytes(folder, path):
    try:
        return folder_lib.read(path)
    except tf.errors.OpError as error:
        raise folder.refusal(path, folder_lib.failure(error)) from error


def _are_intact(headers):
    """Whether the checksum of each length is right, bool `[headers]`."""
    rows = np.frombuffer(b"".join(headers), np.uint8).reshape(-1, HEADER_BYTES)
    crc = np.full(len(rows), 2**32 - 1, np.uint32)
    for column in rows[:, :8].T:
        crc = _TABLE[(crc ^ column) & 255] ^ (crc >> 8)
    crc = ~crc
    masked = (crc >> 15 | crc << 17) + np.uint32(0xA282EAD8)
    return masked == rows[:, 8:].copy().view("<u4")[:, 0]


def _table():
    crc = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        crc = (crc >> 1) ^ np.where(crc & 1, np.uint32(0x82F63B78), 0)
    return crc.astype(np.uint32)


_TABLE = _table()
