"""Every module of the package has a test file, of its name or that names it.

A module `x` is tested by `x_test.py`, in whatever folder and for whatever
backend, or by a test file whose docstring has its name between backticks. The
last sentence of one that has several begins with "Covers".
"""

import ast
import pathlib
import re

ROOT = pathlib.Path(__file__).parents[1]
BACKENDS = re.compile(r"^(tensorflow|jax|torch)_")
TESTS = sorted((ROOT / "tfwd_tests").rglob("*_test.py"))
MODULES = sorted((ROOT / "tfwd").rglob("*.py"))


def docstring_of(path):
    return ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""


def modules_of(path):
    """Returns the names of the modules that a test file stands for."""
    own = path.stem.removesuffix("_test")
    named = re.findall(r"`(\w+)`", docstring_of(path))
    return {own, BACKENDS.sub("", own), *named}


def test_every_module_has_a_test_file_or_is_named_in_one():
    tested = set().union(*map(modules_of, TESTS))
    untested = [
        path.relative_to(ROOT).as_posix()
        for path in MODULES
        if path.stem not in tested | {"__init__"}
    ]
    assert untested == []


def test_what_a_docstring_covers_is_a_module():
    modules = {path.stem for path in MODULES}
    gone = {}
    for path in TESTS:
        covered = re.search(r"^Covers (`[^.]*)\.$", docstring_of(path), re.M)
        names = re.findall(r"`(\w+)`", covered[1]) if covered else []
        if not modules.issuperset(names):
            gone[path.name] = [name for name in names if name not in modules]
    assert gone == {}
