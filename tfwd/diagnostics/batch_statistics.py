"""Batch normalization with statistics of the batch, all else in inference mode.

Curvature at normalized weights (Zhang et al. 2019, Equations 13 and 14) is that
of a loss which does not see the scale of a kernel, and only statistics of the
batch undo that scale: moving averages are constants. Dropout stays off, since
its mask would make a measurement random.

| mode        | a `BatchNormalization` takes                                 |
|-------------|--------------------------------------------------------------|
| `inference` | its moving averages                                          |
| `training`  | statistics of the batch, unless it is frozen                 |
| `auto`      | as `training` if that undoes the scale of a kernel, else not |

Statistics are those of one batch, on one replica unless the layer is
`synchronized`, so the measurement depends on the batch size. Examples of
weight 0, which fill up a batch, do not enter them.
"""

import contextlib
import functools
import threading

import keras
from keras import ops

from tfwd.diagnostics import scale_invariance
from tfwd.kfac import capture
from tfwd.optimizers import arguments

MODES = ("auto", "training", "inference")
_local = threading.local()
_lock = threading.Lock()


def wanted(model, mode):
    """Tells whether a mode takes statistics of the batch in a model.

    Args:
        model: A built Keras model.
        mode: One of `MODES`.

    Raises:
        ValueError: If the mode is not known.
    """
    arguments.check_choice("mode", mode, MODES)
    if mode != "auto":
        return mode == "training"
    return any(
        type(layer) is keras.layers.BatchNormalization
        for found in scale_invariance.of_model(model)
        if found.is_invariant
        for layer, _ in found.normalizations
    )


@contextlib.contextmanager
def used(model, weights):
    """Makes batch normalization take statistics of the batch, in this thread.

    The moving averages are those of the scope the model is called in: under a
    `StatelessScope` they stay.

    Args:
        model: A built Keras model.
        weights: [batch], 0 for examples to be left out of the statistics.
    """
    owner = object()
    norms = [
        layer
        for layer in capture.layers_of(model)
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    # Replicas are threads: the first installs, the last takes off.
    with _lock:
        for layer in norms:
            _install(layer).owners.add(owner)
    before = getattr(_local, "weights", None)
    _local.weights = weights
    try:
        yield
    finally:
        _local.weights = before
        with _lock:
            for layer in norms:
                _remove(layer, owner)


class _Hook:
    """Stands in for the bound method `layer.call`."""

    def __init__(self, layer):
        self.owners = set()
        self._call = layer.call
        self.before = vars(layer).get("call")
        functools.update_wrapper(self, self._call)

    def __call__(self, inputs, training=None, mask=None):
        weights = getattr(_local, "weights", None)
        if weights is None:
            return self._call(inputs, training=training, mask=mask)
        kept = ops.reshape(weights != 0, (-1,) + (1,) * (len(inputs.shape) - 2))
        if mask is not None:
            kept = ops.logical_and(mask, kept)
            return self._call(inputs, training=True, mask=kept)
        # Under a mask Keras divides by the count plus a small number, which
        # is kept for batches that are filled up.
        return ops.cond(
            ops.all(weights != 0),
            lambda: self._call(inputs, training=True),
            lambda: self._call(inputs, training=True, mask=kept),
        )


def _install(layer):
    hook = vars(layer).get("call")
    if not isinstance(hook, _Hook):
        hook = _Hook(layer)
        # Past Keras' tracking of attributes, which would serialize it.
        object.__setattr__(layer, "call", hook)
    return hook


def _remove(layer, owner):
    hook = vars(layer)["call"]
    hook.owners.discard(owner)
    if hook.owners:
        return
    if hook.before is None:
        object.__delattr__(layer, "call")
    else:
        object.__setattr__(layer, "call", hook.before)
