"""What TensorFlow keeps of a run for as long as the process lives."""

import contextlib

from tensorflow.python.framework import ops

# As `tf.custom_gradient` names the gradient of each of its calls in a graph.
_NAME = "CustomGradient-"


@contextlib.contextmanager
def released():
    """Lets the graphs that are made in the context be collected after it.

    TensorFlow (2.21) registers the gradient of every call of a function with a
    gradient of its own, and never forgets it. The gradient holds the graph of
    the call, in a run that of the training step: megabytes a trial. Nothing
    that was compiled in the context may be differentiated afterwards.
    """
    # Of a version without the name the graphs are kept.
    registered = getattr(ops.gradient_registry, "_registry", {})
    before = set(registered)
    try:
        yield
    finally:
        for name in set(registered) - before:
            if name.startswith(_NAME):
                del registered[name]
