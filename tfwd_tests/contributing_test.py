"""The files that CONTRIBUTING.md sends people to are there."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
PATHS = sorted(
    path
    for path in set(re.findall(r"`(tfwd\w*/[\w/.]+)`", TEXT))
    if "NAME" not in path
)


@pytest.mark.parametrize("path", PATHS)
def test_path_is_there(path):
    assert (ROOT / path).exists()


def test_every_room_of_the_package_is_in_the_table():
    table = TEXT[TEXT.index("| room |") : TEXT.index("What needs")]
    rooms = {path.parent.name for path in (ROOT / "tfwd").glob("*/__init__.py")}
    assert rooms <= set(re.findall(r"`(\w+)/`", table))
