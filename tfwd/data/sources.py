"""The published files of a data set, in a folder or in one archive."""

import gzip
import hashlib
import io
import pathlib
import tarfile
from collections.abc import Mapping

# As published beside the files, or by those who mirror them.
MD5 = {
    "mnist": {
        "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    },
    "cifar10": {
        "cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a",
        "cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530",
    },
    "cifar100": {
        "cifar-100-python.tar.gz": "eb9058c3a382ffc7106e4002c42a8d85",
        "cifar-100-binary.tar.gz": "03b5dce01913d631647c71ecec9e9cb8",
    },
}


class Source:
    """Files by name, with their checksums.

    Args:
        path: The folder, or the .tar.gz.
        md5: The published checksums of archives (.tar.gz) and of compressed
            files (.gz), by name.

    Attributes:
        path: The same.
        sha256: Of every file that was read, by name.

    Raises:
        ValueError: There is no such file, or its checksum is another.
    """

    def __init__(self, path: pathlib.Path, md5: Mapping[str, str]):
        self.sha256 = {}
        self.path = path
        self._md5 = md5
        self._archive = None
        if path.is_dir():
            return
        archives = [name for name in md5 if name.endswith(".tar.gz")]
        if not archives or not path.is_file():
            choice = " or ".join(["a folder", *archives])
            raise ValueError(
                f"`source` must be {choice}. Received: source={path}"
            )
        raw = gzip.decompress(self._read(path, archives))
        self._archive = tarfile.open(fileobj=io.BytesIO(raw), mode="r:")

    def holds(self, name: str) -> bool:
        """Says whether there is a file `<folder>/<name>` or `<name>`."""
        return self._find(name) is not None

    def place(self, name: str) -> str:
        """Returns the path of a file, in an archive that of the archive too."""
        found = self._find(name)
        is_member = isinstance(found, tarfile.TarInfo)
        return f"{self.path}/{found.name}" if is_member else f"{found}"

    def read(self, name: str) -> bytes:
        """Returns the bytes of a file, unpacked if it is `<name>.gz`.

        Raises:
            ValueError: There is no such file, or its checksum is another.
        """
        found = self._find(name)
        if found is None:
            raise ValueError(
                f"`source` must hold {name}. Received: source={self.path}"
            )
        if isinstance(found, tarfile.TarInfo):
            return self._archive.extractfile(found).read()
        if found.suffix == ".gz":
            return gzip.decompress(self._read(found, [found.name]))
        return self._read(found)

    def _find(self, name):
        if self._archive is not None:
            members = (each for each in self._archive if each.name == name)
            # No link, which could name another member or a file outside.
            return next((each for each in members if each.isreg()), None)
        inside = name.rpartition("/")[2]
        packed = f"{inside}.gz"
        candidates = [name, inside] + [packed] * (packed in self._md5)
        paths = (self.path / candidate for candidate in candidates)
        return next((path for path in paths if path.is_file()), None)

    def _read(self, path, names=()):
        """Reads a file whose MD5 is that of one of `names`, if given."""
        raw = path.read_bytes()
        found = hashlib.md5(raw, usedforsecurity=False).hexdigest()
        if names and found not in (self._md5[name] for name in names):
            sums = " or ".join(f"{self._md5[name]} ({name})" for name in names)
            raise ValueError(
                f"`source` must have the published MD5 checksum, {sums}. "
                f"Received: {found} ({path})"
            )
        self.sha256[path.name] = hashlib.sha256(raw).hexdigest()
        return raw
