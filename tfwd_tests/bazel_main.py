"""Runs pytest on the file that it is given: the main of every Bazel test."""

import sys

import pytest

if __name__ == "__main__":
    # No cache: a test's runfiles are not to be written to.
    sys.exit(pytest.main(["-p", "no:cacheprovider", *sys.argv[1:]]))
