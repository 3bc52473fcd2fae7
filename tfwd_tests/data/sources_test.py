"""Files come from a folder or an archive, with the published checksums."""

import gzip
import hashlib
import tarfile

import pytest

from tfwd.data import sources
from tfwd_tests.data import published

NAME = "train-labels-idx1-ubyte"
PACKED = f"{NAME}.gz"


def md5_of(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def test_a_file_is_read_unpacked_or_as_it_is(tmp_path):
    packed = gzip.compress(b"labels", mtime=0)
    published.write_files(tmp_path, {PACKED: packed})
    source = sources.Source(tmp_path, {PACKED: md5_of(tmp_path / PACKED)})
    assert source.read(NAME) == b"labels"
    assert source.sha256 == {PACKED: hashlib.sha256(packed).hexdigest()}
    published.write_files(tmp_path, {NAME: b"loose"})
    assert source.read(NAME) == b"loose"


def test_a_compressed_file_with_another_checksum_is_refused(tmp_path):
    published.write_files(tmp_path, {PACKED: gzip.compress(b"labels")})
    source = sources.Source(tmp_path, sources.MD5["mnist"])
    expected = sources.MD5["mnist"][PACKED]
    found = md5_of(tmp_path / PACKED)
    with pytest.raises(ValueError, match=f"MD5 .*{expected}.*: {found} "):
        source.read(NAME)


def test_an_archive_with_another_checksum_is_refused(tmp_path):
    path = tmp_path / "cifar-10-python.tar.gz"
    found = published.write_archive(path, "folder", {"file": b"content"})
    expected = " or ".join(
        rf"{md5} \({name}\)" for name, md5 in sources.MD5["cifar10"].items()
    )
    with pytest.raises(ValueError, match=f"MD5 .*{expected}.*: {found} "):
        sources.Source(path, sources.MD5["cifar10"])


def test_only_what_is_published_compressed_is_unpacked(tmp_path):
    published.write_files(tmp_path, {"train.bin.gz": gzip.compress(b"")})
    source = sources.Source(tmp_path, sources.MD5["cifar100"])
    assert not source.holds("cifar-100-binary/train.bin")


def test_a_link_in_an_archive_is_not_followed(tmp_path):
    path = tmp_path / "cifar.tar.gz"
    name = "cifar-10-batches-py/data_batch_1"
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.type = tarfile.SYMTYPE
        member.linkname = "/etc/passwd"
        archive.addfile(member)
    source = sources.Source(path, {path.name: md5_of(path)})
    assert not source.holds(name)
    with pytest.raises(ValueError, match=f"`source` must hold {name}"):
        source.read(name)
