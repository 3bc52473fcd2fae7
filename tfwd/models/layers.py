"""The layers that every model here is put together from.

Each has a name, and activations are layers of their own: K-FAC needs the
outputs of convolutions and dense layers before them.
"""

import dataclasses

import keras

from tfwd.models import conventions


@dataclasses.dataclass(frozen=True)
class Layers:
    """Applies layers in the way of a convention.

    Attributes:
        convention: How they are initialized, normalize and pad.
        width: Multiplies the numbers of `scaled`.
        batch_norm: False leaves out normalization; what comes before it then
            has biases in every convention.
        sync_batch_norm: Whether the statistics of a batch are those of all
            replicas together.
    """

    convention: conventions.Convention
    width: float = 1.0
    batch_norm: bool = True
    sync_batch_norm: bool = False

    def scaled(self, units: int) -> int:
        """Returns `units * width`, rounded, at least 1."""
        return max(1, round(units * self.width))

    def conv(
        self,
        x,
        filters: int,
        size: int,
        name: str,
        *,
        strides: int = 1,
        use_bias: bool = False,
    ):
        """Convolves with a square window of odd `size`, without activation.

        Args:
            x: Images [batch, height, width, channels].
            filters: Number of output channels.
            size: Side of the window.
            name: Of the layer; its padding is `<name>_pad`, and what drops
                the pixels that a window of one leaves out `<name>_subsample`.
            strides: Of the window, in both directions; the result has
                ceil(side / strides) rows and columns.
            use_bias: Whether PyTorch's form of the model has a bias here.
        """
        padding = "same"
        if strides > 1 and size == 1:
            # The same numbers as with strides. oneDNN's gradient of a strided
            # 1x1 kernel (`jit_1x1:avx512_core`, in TensorFlow 2.21) writes
            # past its memory where there are fewer than 16 input channels.
            x = keras.layers.AveragePooling2D(
                1, strides, name=f"{name}_subsample"
            )(x)
            strides = 1
        if strides > 1 and self.convention.symmetric_padding:
            padding = "valid"
            if size > 1:
                x = keras.layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(x)
        always = self.convention.always_bias or not self.batch_norm
        return keras.layers.Conv2D(
            filters,
            size,
            strides,
            padding,
            use_bias=use_bias or always,
            name=name,
            **self._initializers(size * size * x.shape[-1]),
        )(x)

    def dense(self, x, units: int, name: str):
        """Applies a dense layer with bias, without activation."""
        return keras.layers.Dense(
            units, name=name, **self._initializers(x.shape[-1])
        )(x)

    def logits(self, x, num_classes: int):
        """Ends a model: one score per class, without softmax."""
        return self.dense(x, num_classes, "logits")

    def normalized(self, x, name: str):
        """Normalizes the output `x` of the layer `name`, if at all."""
        if not self.batch_norm:
            return x
        return keras.layers.BatchNormalization(
            momentum=self.convention.momentum,
            epsilon=self.convention.epsilon,
            center=self.convention.affine,
            scale=self.convention.affine,
            synchronized=self.sync_batch_norm,
            name=f"{name}_norm",
        )(x)

    def activated(self, x, name: str):
        """Normalizes the output `x` of the layer `name`, then applies ReLU."""
        x = self.normalized(x, name)
        return keras.layers.ReLU(name=f"{name}_relu")(x)

    def pooled(self, x, name: str):
        """Halves an image: the maximum of 3x3 around every second pixel.

        PyTorch's pooling with a padding of one on each side. It pads with −∞,
        this with 0, which is the same after a ReLU.
        """
        x = keras.layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
        return keras.layers.MaxPooling2D(3, 2, name=name)(x)

    def averaged(self, x):
        """Averages over all pixels: [batch, channels]."""
        return keras.layers.GlobalAveragePooling2D(name="pool")(x)

    def _initializers(self, fan_in):
        return {
            "kernel_initializer": self.convention.kernel_initializer(),
            "bias_initializer": self.convention.bias_initializer(fan_in),
        }
