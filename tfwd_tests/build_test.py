"""BUILD names every file once, every import among the deps, every test.

The checks themselves are tried on a small tree with one fault at a time.
"""

import pathlib

import pytest

from tfwd_tests import build_file

ROOT = pathlib.Path(__file__).parents[1]


def test_build_has_every_file_once_and_every_import_among_the_deps():
    text = (ROOT / "BUILD").read_text("utf-8")
    assert build_file.build_faults(text, ROOT) == []


def test_rooms_import_only_the_rooms_below_them():
    assert build_file.order_faults(ROOT) == []


FILES = {
    "tfwd/__init__.py": "from tfwd import optimizers",
    "tfwd/optimizers/__init__.py": "from tfwd.optimizers import sgd",
    "tfwd/optimizers/sgd.py": "import keras",
    "tfwd/training/__init__.py": "",
    "tfwd/training/loop.py": "def f():\n    from tfwd.optimizers import sgd",
    "tfwd_tests/main.py": "import pytest",
    "tfwd_tests/training/loop_test.py": "from tfwd import training",
}

BUILD = """
load("@rules_python//python:py_library.bzl", "py_library")
load("@rules_python//python:py_test.bzl", "py_test")
py_library(name = "tfwd", srcs = ["tfwd/__init__.py"], deps = [":optimizers"])
py_library(name = "optimizers", srcs = glob(["tfwd/optimizers/**/*.py"]))
py_library(name = "training", deps = [":tfwd"],
           srcs = glob(["tfwd/training/**"]))
[
    py_test(
        name = path[:-len(".py")],
        srcs = [path, "tfwd_tests/main.py"],
        args = [path],
        main = "tfwd_tests/main.py",
        deps = [":training"],
    )
    for path in glob(["tfwd_tests/**/*_test.py"])
]
"""


@pytest.fixture
def small_tree(tmp_path):
    for path, text in FILES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, "utf-8")
    return tmp_path


def test_a_sound_build_file_has_no_faults(small_tree):
    assert build_file.build_faults(BUILD, small_tree) == []
    assert build_file.order_faults(small_tree) == []


@pytest.mark.parametrize(
    ("sound", "faulty", "fault"),
    [
        (
            "tfwd/training/**",
            "tfwd/training/__init__.py",
            "tfwd/training/loop.py is in 0 targets: []",
        ),
        (
            '["tfwd/__init__.py"]',
            '["tfwd/__init__.py", "tfwd/optimizers/sgd.py"]',
            "tfwd/optimizers/sgd.py is in 2 targets: ['tfwd', 'optimizers']",
        ),
        (
            'deps = [":tfwd"],\n',
            "\n",
            "tfwd/training/loop.py imports tfwd.optimizers.sgd: "
            "not in training",
        ),
        (
            'deps = [":training"]',
            'deps = [":tfwd"]',
            "tfwd_tests/training/loop_test.py imports tfwd.training: "
            "not in tfwd_tests/training/loop_test",
        ),
        (
            ":training",
            ":trainings",
            "tfwd_tests/training/loop_test depends on trainings, "
            "which is no target",
        ),
        (
            "args = [path]",
            "args = []",
            "tfwd_tests/training/loop_test.py has no py_test named after it",
        ),
        (
            'load("@rules_python//python:py_test.bzl", "py_test")',
            "",
            "name 'py_test' is not defined",
        ),
        (
            "tfwd/training/**",
            "tfwd/trainings/**",
            "glob(['tfwd/trainings/**']) matches nothing",
        ),
    ],
)
def test_a_fault_in_the_build_file_is_found(small_tree, sound, faulty, fault):
    assert sound in BUILD
    text = BUILD.replace(sound, faulty)
    assert build_file.build_faults(text, small_tree) == [fault]


@pytest.mark.parametrize(
    ("path", "text", "fault"),
    [
        (
            "tfwd/optimizers/sgd.py",
            "def f():\n    import tfwd.training",
            "tfwd/optimizers/sgd.py imports tfwd.training",
        ),
        (
            "tfwd/optimizers/sgd.py",
            "import tfwd",
            "tfwd/optimizers/sgd.py imports tfwd",
        ),
        ("tfwd/others.py", "", "others has no place in the order"),
    ],
)
def test_an_import_against_the_order_is_found(small_tree, path, text, fault):
    (small_tree / path).write_text(text, "utf-8")
    assert build_file.order_faults(small_tree) == [fault]
