"""IDX files are read, and damaged ones are refused."""

import gzip
import hashlib
import struct

import numpy as np
import pytest

from tfwd.data import idx
from tfwd.data import sources
from tfwd_tests.data import published


def idx_of(magic="00000801", sizes=(3,), numbers=b"\1\2\3"):
    header = bytes.fromhex(magic) + struct.pack(f">{len(sizes)}I", *sizes)
    return header + numbers


@pytest.mark.parametrize(
    "raw, shape, reason",
    [
        (idx_of("00000803"), (), "0x00000801.*0x00000803"),
        (idx_of("00000901"), (), "0x00000801.*0x00000901"),
        (b"\x1f\x8b\x08", (), "magic number.*0x1f8b08"),
        (b"", (), "magic number.*0x$"),
        (idx_of(numbers=b"\1\2"), (), "have 11 bytes, for 3.*10 bytes"),
        (idx_of(numbers=b"\1\2\3\4"), (), "have 11 bytes, for 3.*12 bytes"),
        (idx_of(sizes=(), numbers=b"\0\0\0"), (), "have 8 bytes.*7 bytes"),
        (
            idx_of("00000803", (1, 3, 2), bytes(6)),
            (2, 3),
            r"shape \(2, 3\).*\(3, 2\)",
        ),
    ],
)
def test_a_damaged_idx_file_is_refused(raw, shape, reason):
    with pytest.raises(ValueError, match=f"^labels must .*{reason}"):
        idx.decoded(raw, "labels", shape)


@pytest.mark.parametrize("is_packed", [False, True])
def test_a_damaged_file_is_named_with_its_path(tmp_path, is_packed):
    files = published.mnist_files(published.random_splits("mnist"))
    name = "t10k-labels-idx1-ubyte"
    files[name] = files[name][:-1]
    if is_packed:
        files = {f"{each}.gz": gzip.compress(files[each]) for each in files}
        name = f"{name}.gz"
    published.write_files(tmp_path, files)
    md5 = {each: hashlib.md5(raw).hexdigest() for each, raw in files.items()}
    with pytest.raises(ValueError, match=f"^{tmp_path / name} must have"):
        idx.read(sources.Source(tmp_path, md5))


def test_the_last_dimension_runs_fastest():
    raw = idx_of("00000803", (2, 2, 3), bytes(range(12)))
    np.testing.assert_array_equal(
        idx.decoded(raw, "images", (2, 3)), np.arange(12).reshape(2, 2, 3)
    )
