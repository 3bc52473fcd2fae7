"""Sums of statistics over a data set, batch by batch, on all replicas.

A statistic is a function of a replica's part of a batch,

    statistics(inputs, labels, weights, first_example) -> {name: sums}

which returns sums over the local examples and never means: so parts of any
size, and none, add up. `weights` [batch] are 0 for examples that only fill up a
batch, `first_example` is the index of the first example of the whole batch.
"""

import keras
import numpy as np
from keras import ops

from tfwd import arguments
from tfwd.diagnostics.backend import derivatives


class Sums:
    """A compiled program that sums statistics, to be used again and again.

    Args:
        statistics: The function above.
        model: The Keras model it reads, on whose replicas it runs.
    """

    def __init__(self, statistics, model):
        self._statistics = statistics
        self._strategy = derivatives.current.strategy_of(model)
        self._run = derivatives.current.compiled(
            self._on_replica, model.variables, self._strategy
        )

    def over(self, batches):
        """Returns {name: sums over all examples}, float64 arrays.

        Args:
            batches: An iterable of batches: inputs, or tuples (inputs, labels)
                or (inputs, labels, weights) of arrays or tensors, or what a
                distributed data set gives.

        Raises:
            ValueError: If there is no batch.
        """
        totals, first = {}, 0
        for batch in batches:
            batch = keras.utils.unpack_x_y_sample_weight(batch)
            shared = derivatives.current.shared_out(
                keras.tree.map_structure(_standardized, batch), self._strategy
            )
            size, sums = self._run(*shared, ops.convert_to_tensor(first))
            first += int(ops.convert_to_numpy(size))
            for name, value in sums.items():
                value = np.asarray(ops.convert_to_numpy(value), "float64")
                totals[name] = totals.get(name, 0.0) + value
        if not totals:
            raise ValueError("`data` must hold a batch. Received: none")
        return totals

    def _on_replica(self, inputs, labels, weights, first_example):
        size = local_size(inputs)
        dtype = derivatives.kfac.widest_float()
        if weights is None:
            weights = ops.ones((size,), dtype=dtype)
        else:
            weights = ops.reshape(ops.cast(weights, dtype), (size,))
        sums = self._statistics(inputs, labels, weights, first_example)
        return ops.cast(size, dtype), sums


def local_size(inputs):
    """Returns the number of examples of nested tensors."""
    return ops.shape(keras.tree.flatten(inputs)[0])[0]


def examples(inputs, first_example):
    """Returns the global indices of a replica's examples, int32 [batch].

    Args:
        inputs: The replica's inputs.
        first_example: What a statistic is given.
    """
    size = local_size(inputs)
    start = ops.cast(first_example, "int32") + ops.cast(
        derivatives.kfac.first_example(size), "int32"
    )
    return start + ops.arange(size, dtype="int32")


def batches_of(data, batch_size=250, name="data"):
    """Returns an iterable of batches.

    Args:
        data: An array, a dict of arrays, or a tuple (x, y) or (x, y, weights)
            of such, which is cut into batches as equal as can be; or batches,
            as a list or any iterable (`tf.data.Dataset`, also distributed).
        batch_size: The most examples per batch of arrays.
        name: The argument's name, for messages.

    Raises:
        ValueError: If it is none of these, or arrays differ in length.
    """
    rule = f"`{name}` must be arrays of examples, or an iterable of batches."
    batch_size = arguments.check_integer("batch_size", batch_size, 1)
    is_batches = not isinstance(data, (tuple, dict, str, bytes))
    if is_batches and not hasattr(data, "shape"):
        if not hasattr(data, "__iter__"):
            raise ValueError(f"{rule} Received: {name}={arguments.shown(data)}")
        return data
    leaves = [leaf for leaf in keras.tree.flatten(data) if leaf is not None]
    if not all(len(getattr(leaf, "shape", ())) for leaf in leaves):
        raise ValueError(f"{rule} Received: {name}={arguments.shown(data)}")
    sizes = {leaf.shape[0] for leaf in leaves}
    if len(sizes) != 1:
        raise ValueError(
            f"`{name}` must hold arrays of one length. "
            f"Received: lengths {sorted(sizes)}"
        )
    (size,) = sizes
    # A small last batch would have poor statistics of its own.
    count = -(-size // batch_size)

    def batch_from(number):
        first, last = (-(-size * n // count) for n in (number, number + 1))
        part = slice(first, last)
        return keras.tree.map_structure(
            lambda leaf: None if leaf is None else leaf[part], data
        )

    return map(batch_from, range(count))


def labelled(batches, name="data"):
    """Yields batches, checked before a program is traced with them.

    Raises:
        ValueError: If there is no batch, or one has no labels.
    """
    batch = None
    for batch in batches:
        if keras.utils.unpack_x_y_sample_weight(batch)[1] is None:
            raise ValueError(
                f"`{name}` must have labels beside the inputs. "
                "Received: labels=None"
            )
        yield batch
    if batch is None:
        raise ValueError(f"`{name}` must hold a batch. Received: none")


def _standardized(leaf):
    """Returns an array in the type that Keras' own loops would give it."""
    if isinstance(leaf, np.ndarray) and leaf.dtype.kind == "f":
        return leaf.astype(keras.config.floatx())
    return leaf
