"""Which versions of Keras were tried, and the warning with any other."""

import importlib.metadata
import subprocess
import sys

import keras
import pytest

import tfwd
from tfwd import versions


@pytest.mark.parametrize(
    ("version", "is_tried"),
    [
        ("3.9.2", False),
        ("3.10.0", True),
        ("3.12", True),
        ("3.15.7", True),
        ("3.16.0.dev2026", False),
        ("4.0.0", False),
    ],
)
def test_minor_releases_from_the_oldest_to_the_newest_were_tried(
    version, is_tried, recwarn
):
    assert versions.is_tried(version) == is_tried
    versions.warn_if_untried(version)
    texts = [str(warning.message) for warning in recwarn]
    assert texts == [] if is_tried else len(texts) == 1


def test_the_warning_names_what_was_tried_and_what_is_there():
    with pytest.warns(UserWarning) as caught:
        versions.warn_if_untried("3.99.0")
    assert str(caught[0].message) == (
        "tfwd was tried with Keras 3.10 to 3.15, whose private hooks it uses. "
        "Received: Keras 3.99.0"
    )


@pytest.mark.parametrize("version", ["3.99.0", keras.__version__])
def test_import_warns_once_of_keras_that_was_not_tried(version):
    program = f"import keras; keras.__version__ = {version!r}; import tfwd"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True
    )
    assert done.returncode == 0
    count = 0 if versions.is_tried(version) else 1
    assert done.stderr.count("tfwd was tried with Keras") == count


def test_the_version_is_that_of_the_package():
    try:
        installed = importlib.metadata.version("tfwd")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("The checkout is not installed here")
    assert tfwd.__version__ == installed
