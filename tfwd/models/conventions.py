"""Where the models of two papers differ beyond their layers.

The same network is initialized, normalized and padded otherwise in TensorFlow
1, which Zhang et al. 2019 used, and in PyTorch, which Xie et al. 2022 used.
"""

import dataclasses
import math

import keras


@dataclasses.dataclass(frozen=True)
class Convention:
    """How layers are initialized, normalize and pad.

    The moving variance of Keras averages the biased variance of the batch,
    PyTorch's the unbiased one, which is n / (n - 1) times larger, n being the
    batch size times the positions. That is not imitated.

    Attributes:
        fan_in_limits: Kernels and biases are initialized uniform in
            ±1/√fan_in, as PyTorch's are, and embeddings standard normal.
            Otherwise kernels are Glorot uniform and biases zero, and what is
            recurrent or an embedding is as Keras has it.
        always_bias: Convolutions have biases before normalization, too.
        affine: Normalization has a trainable scale and shift.
        epsilon: Of normalization.
        momentum: Of the moving averages, the weight of the old value.
        symmetric_padding: A strided convolution pads each side by half of its
            window; otherwise at the bottom and on the right only ("same").
    """

    fan_in_limits: bool
    always_bias: bool
    affine: bool
    epsilon: float
    momentum: float
    symmetric_padding: bool

    def kernel_initializer(self):
        """Returns a new initializer for the kernel of a layer."""
        if self.fan_in_limits:
            # Uniform in ±√(3 scale / fan_in).
            return keras.initializers.VarianceScaling(
                scale=1 / 3, mode="fan_in", distribution="uniform"
            )
        return keras.initializers.GlorotUniform()

    def bias_initializer(self, fan_in: int):
        """Returns a new initializer for the bias of a layer.

        Args:
            fan_in: Inputs of one output, of which the kernel has as many rows.
        """
        if self.fan_in_limits:
            return _uniform(1 / math.sqrt(fan_in))
        return keras.initializers.Zeros()

    def embedding_initializer(self):
        """Returns a new initializer for an embedding."""
        if self.fan_in_limits:
            return keras.initializers.RandomNormal(stddev=1.0)
        return keras.initializers.RandomUniform()

    def recurrent_arguments(self, units: int) -> dict:
        """Returns the arguments of `keras.layers.LSTM` for its initial weights.

        PyTorch draws all of them in ±1/√units. It has two biases where Keras
        has one, of which only the sum acts; here the one has these limits.
        """
        if not self.fan_in_limits:
            return {}
        names = ("kernel", "recurrent", "bias")
        limit = 1 / math.sqrt(units)
        return {
            "unit_forget_bias": False,
            **{f"{name}_initializer": _uniform(limit) for name in names},
        }


def _uniform(limit):
    return keras.initializers.RandomUniform(-limit, limit)


CONVENTIONS = {
    "zhang2019": Convention(
        fan_in_limits=False,
        always_bias=True,
        affine=False,
        epsilon=1e-3,
        momentum=0.99,
        symmetric_padding=False,
    ),
    # PyTorch's momentum 0.1 is the weight of the new value.
    "xie2022": Convention(
        fan_in_limits=True,
        always_bias=False,
        affine=True,
        epsilon=1e-5,
        momentum=0.9,
        symmetric_padding=True,
    ),
}
