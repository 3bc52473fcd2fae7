"""Dropout whose mask is a function of the example, not of the batch.

Inside `keyed`, an element is dropped by a hash of (key of its example, number
of the layer, its position in the example). The mask is then the same for every
division of a batch among replicas or steps, on every backend, and after a
restart.
"""

import contextlib
import math
import threading

import keras
from keras import ops

from tfwd import arguments
from tfwd import hashing

_BITS = 23
_context = threading.local()


@contextlib.contextmanager
def keyed(keys):
    """Makes every `KeyedDropout` called inside draw from these keys.

    It holds for the thread, as replicas of `MirroredStrategy` are threads;
    an inner context hides the outer one.

    Args:
        keys: An integer tensor [batch] of 32 bits, one key per example, that
            differs from step to step as well.
    """
    outer = getattr(_context, "keys", None)
    _context.keys = hashing.word(ops.convert_to_tensor(keys))
    try:
        yield
    finally:
        _context.keys = outer


@keras.saving.register_keras_serializable("tfwd")
class KeyedDropout(keras.layers.Dropout):
    """Sets a fraction `rate` to 0 and multiplies the rest by 1 / (1 − rate).

    In training and inside `keyed`, for the key k of an example, element i of
    the example in row-major order and h = `hashing.mix`,

        keep = h(h(k ^ h(c (stream + 1))) ^ h(i + c)) >= rate * 2^32,

    with c = 2^32 / φ and both sides cut to 23 bits, so that the rate is off by
    2^-24 at most. Outside `keyed` it is `keras.layers.Dropout`.

    Args:
        rate: A float in [0, 1).
        stream: A number that no other such layer of the model has. Layers with
            one number and equal shapes have equal masks.
        **kwargs: Of `keras.layers.Dropout`, without `noise_shape`.
    """

    def __init__(self, rate, stream, **kwargs):
        # `get_config` of the base writes it, always None here.
        noise_shape = kwargs.pop("noise_shape", None)
        if noise_shape is not None:
            raise ValueError(
                "`noise_shape` must be None: every element is drawn by itself. "
                f"Received: noise_shape={noise_shape}"
            )
        rate = arguments.check_interval("rate", rate, 0, 1, open_high=True)
        super().__init__(rate, **kwargs)
        self.stream = arguments.check_integer("stream", stream, 0)

    def call(self, inputs, training=False):
        """Drops elements of `inputs` [batch, ...] in training."""
        keys = getattr(_context, "keys", None)
        if keys is None or not training or self.rate == 0:
            return super().call(inputs, training=training)
        kept = ops.reshape(self._kept(keys, inputs), ops.shape(inputs))
        return ops.where(kept, inputs * (1 / (1 - self.rate)), 0.0)

    def get_config(self):
        """Returns the arguments of the constructor."""
        return {**super().get_config(), "stream": self.stream}

    def _kept(self, keys, inputs):
        """Returns what is kept, bool [batch, elements of an example]."""
        if None not in (keys.shape[0], inputs.shape[0]):
            if keys.shape[0] != inputs.shape[0]:
                raise ValueError(
                    "`keys` must be one per example, here "
                    f"{inputs.shape[0]}. Received: {keys.shape[0]} keys"
                )
        number = hashing.GOLDEN_RATIO * (self.stream + 1)
        stream = hashing.mix(hashing.constant(number))
        rows = hashing.mix(ops.bitwise_xor(keys, stream))
        bits = hashing.bits(rows, math.prod(ops.shape(inputs)[1:]))
        threshold = round(self.rate * 2**_BITS)
        return hashing.high_bits(bits, _BITS) >= threshold
