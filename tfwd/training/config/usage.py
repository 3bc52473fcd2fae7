"""What a user asked for and cannot have, told apart from a fault."""

import contextlib
import dis

_PACKAGE = __name__.partition(".")[0]


class UsageError(ValueError):
    """A flag, an argument or a file of the user's breaks a rule.

    The binaries show it as one line, and every other error with its traceback,
    since that one is a fault of theirs.
    """


@contextlib.contextmanager
def refusals():
    """Makes a `UsageError` of what this library refuses in the context.

    Its functions raise ValueError for an argument that breaks a rule, and the
    arguments are the user's here. But ValueError is also what a fault raises,
    in TensorFlow, in NumPy, in `zip` or an assignment. So a refusal is one
    that a `raise` of this package has made.

    Raises:
        UsageError: The library refused; any other error passes.
    """
    try:
        yield
    except ValueError as error:
        # Its subclasses say more than that already.
        if type(error) is ValueError and _is_raised_here(error):
            raise UsageError(str(error)) from error
        raise


def _is_raised_here(error):
    last = error.__traceback__
    while last.tb_next:
        last = last.tb_next
    frame = last.tb_frame
    instruction = dis.opname[frame.f_code.co_code[last.tb_lasti]]
    package = frame.f_globals.get("__name__", "").partition(".")[0]
    return instruction == "RAISE_VARARGS" and package == _PACKAGE
