"""The binaries, the modules that `python -m` runs, on the way to them.

Before Python runs one it imports the packages around it; what these import
would take seconds, which flags and `--help` need not wait for.
"""

import sys


def is_looked_for():
    """Returns whether Python is looking for a module of tfwd, to run it."""
    # It says so as long as it has no path to put there.
    if sys.argv[:1] != ["-m"]:
        return False
    # The name stands in the place of the "-m", before the same arguments.
    return sys.orig_argv[-len(sys.argv)].startswith("tfwd.")
