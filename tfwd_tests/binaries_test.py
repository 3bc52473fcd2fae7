"""When a package around a binary leaves its imports out."""

import sys

import pytest

from tfwd import binaries

PYTHON = ["python", "-X", "importtime"]


@pytest.mark.parametrize(
    ("words", "arguments", "expected"),
    [
        # What Python has in `sys.argv` while it looks for a module.
        (["-m", "tfwd.train"], ["-m"], True),
        (["-um", "tfwd.train", "--epochs=1"], ["-m", "--epochs=1"], True),
        (["-m", "tfwd.tune", "--a=b"], ["-m", "--a=b"], True),
        (["-m", "mine.train"], ["-m"], False),
        (["-m", "mine", "-m", "tfwd.train"], ["-m", "-m", "tfwd.train"], False),
        # While it runs one, the path of what it found.
        (["-m", "tfwd.train"], ["tfwd/train.py"], False),
        (["mine.py", "tfwd.train"], ["mine.py", "tfwd.train"], False),
        (["-c", "import tfwd"], ["-c"], False),
        ([], [""], False),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_binary_is_looked_for_until_its_file_is_found(
    words, arguments, expected, monkeypatch
):
    monkeypatch.setattr(sys, "orig_argv", [*PYTHON, *words])
    monkeypatch.setattr(sys, "argv", arguments)
    assert binaries.looked_for() == (words[1] if expected else None)
