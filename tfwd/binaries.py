"""The binaries, the modules that `python -m` runs, on the way to them.

Before Python runs one it imports the packages around it; what these import
would take seconds, which flags and `--help` need not wait for.
"""

import sys


def looked_for():
    """Returns the module of tfwd that Python looks for, to run it, or None."""
    # `argv` says so as long as there is no path to put there.
    if sys.argv[:1] != ["-m"]:
        return None
    # The name stands in the place of the "-m", before the same arguments.
    name = sys.orig_argv[-len(sys.argv)]
    return name if name.startswith("tfwd.") else None
