"""Every module of the package has a test file, of its name or that names it.

A module `x` is tested by `x_test.py`, in whatever folder and for whatever
backend, or by a test file whose docstring has its name between backticks.
"""

import ast
import pathlib
import re

ROOT = pathlib.Path(__file__).parents[1]
BACKENDS = re.compile(r"^(tensorflow|jax|torch)_")


def modules_of(path):
    """Returns the names of the modules that a test file stands for."""
    docstring = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    own = path.stem.removesuffix("_test")
    named = re.findall(r"`(\w+)`", docstring)
    return {own, BACKENDS.sub("", own), *named}


def test_every_module_has_a_test_file_or_is_named_in_one():
    files = (ROOT / "tfwd_tests").rglob("*_test.py")
    tested = set().union(*map(modules_of, files))
    untested = [
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "tfwd").rglob("*.py"))
        if path.stem not in tested | {"__init__"}
    ]
    assert untested == []
