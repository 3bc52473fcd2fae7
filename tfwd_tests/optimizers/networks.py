"""Small networks for tests of which variables decay, and how much."""

import keras
from keras import layers
from keras import ops

import tfwd


class Block(layers.Layer):
    """A layer whose name has a word of `@norm`, with a Dense inside."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(3, name="dense")

    def build(self, shape):
        self.dense.build(shape)

    def call(self, x):
        return self.dense(x)


class Table(layers.Layer):
    """Parameters by the names that other libraries give to theirs."""

    def build(self, shape):
        for name in ("scale", "offset", "weight"):
            self.add_weight(shape=(3,), name=name)
        self.add_weight(shape=(5, 3), name="position_embedding")
        self.add_weight(shape=(2, 3), name="b_bias")
        self.add_weight(shape=(2, 3), name="unbiased")

    def call(self, x):
        return x


def network():
    """Returns a model with every kind of layer that a preset speaks of."""
    tokens = keras.Input((6,), dtype="int32", name="tokens")
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Embedding(10, 4, name="embedding")(tokens)
    x = layers.LayerNormalization(name="layer_normalization")(x)
    x = layers.MultiHeadAttention(2, 3, name="attention")(x, x)
    x = layers.EinsumDense(
        "abc,cde->abde", (None, 2, 4), bias_axes="de", name="einsum"
    )(x)
    x = layers.RMSNormalization(name="rms_normalization")(x)
    x = layers.Reshape((6, 8))(x)
    x = layers.LSTM(3, name="lstm")(x)
    y = layers.Conv2D(4, 3, name="conv")(image)
    y = layers.BatchNormalization(name="batch_normalization")(y)
    y = layers.GroupNormalization(2, name="group_normalization")(y)
    y = layers.GlobalAveragePooling2D()(y)
    y = Block(name="block1_bn")(y)
    z = layers.Concatenate()([x, y])
    z = layers.Dense(3, name="normal_head")(z)
    z = Table(name="post_LN")(z)
    return keras.Model([tokens, image], Table(name="enormous")(z))


BIASES = {
    "attention/query/bias",
    "attention/key/bias",
    "attention/value/bias",
    "attention/attention_output/bias",
    "einsum/bias",
    "lstm/lstm_cell/bias",
    "conv/bias",
    "block1_bn/dense/bias",
    "normal_head/bias",
    "post_LN/b_bias",
    "enormous/b_bias",
}
NORMS = {
    "layer_normalization/gamma",
    "layer_normalization/beta",
    "rms_normalization/scale",
    "batch_normalization/gamma",
    "batch_normalization/beta",
    "group_normalization/gamma",
    "group_normalization/beta",
    "post_LN/scale",
    "post_LN/offset",
    "post_LN/weight",
}
EMBEDDINGS = {
    "embedding/embeddings",
    "post_LN/position_embedding",
    "enormous/position_embedding",
}
OTHER_VECTORS = {"enormous/scale", "enormous/offset", "enormous/weight"}
UNDECAYED = BIASES | NORMS | EMBEDDINGS | OTHER_VECTORS
DECAYED = {
    "attention/query/kernel",
    "attention/key/kernel",
    "attention/value/kernel",
    "attention/attention_output/kernel",
    "einsum/kernel",
    "lstm/lstm_cell/kernel",
    "lstm/lstm_cell/recurrent_kernel",
    "conv/kernel",
    "block1_bn/dense/kernel",
    "normal_head/kernel",
    "post_LN/unbiased",
    "enormous/unbiased",
}


def small_variables(prefix=""):
    """Returns a kernel [4, 3] and a bias [3] of a layer named `head`."""
    dense = layers.Dense(3, name=prefix + "head")
    dense.build((None, 4))
    return dense.trainable_variables


def factors_by_path(variables, **policy):
    optimizer = tfwd.SGDW(0.1, 0.01, **policy)
    optimizer.build(variables)
    paths = [variable.path for variable in variables]
    return dict(zip(paths, optimizer.weight_decay_factors, strict=True))


def excluded(factors):
    return {path for path, factor in factors.items() if factor == 0}


def linear_model(optimizer, jit_compile="auto", use_bias=False):
    """Returns a model whose kernel has the mean of a batch as its gradient."""
    model = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(1, use_bias=use_bias)]
    )
    model.layers[0].kernel.assign([[1.0], [-2.0]])
    model.compile(
        optimizer,
        loss=lambda _, output: ops.mean(output),
        jit_compile=jit_compile,
    )
    return model


def number(variable):
    return float(ops.convert_to_numpy(variable))
