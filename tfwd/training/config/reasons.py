"""An error of somebody else's code, as a part of one line."""

import re
import textwrap

_LONGEST = 200


def of(error):
    """Returns the kind of an error and what it says, shortened."""
    # TensorFlow makes parts bold, and names in a file may hold anything.
    text = re.sub(r"\x1b\[[\d;]*m|\{\{.*?\}\}", "", str(error))
    # Before it Keras has the whole configuration.
    text = text.rpartition("Exception encountered: ")[2]
    text = "".join(each if each.isprintable() else " " for each in text)
    return textwrap.shorten(
        f"{type(error).__name__}: {text}", _LONGEST, placeholder=" ..."
    )
