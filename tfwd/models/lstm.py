"""The LSTM language model of Zaremba et al. 2014, as Xie et al. 2022.

Its state goes in and comes out: segments of a text are chained by the caller,
and replicas share nothing.
"""

import keras
from keras import ops

from tfwd.models import dropout as dropout_lib
from tfwd.models import layers as layers_lib


def build(
    name: str,
    input_shape: tuple[int | None],
    num_classes: int,
    layers: layers_lib.Layers,
    *,
    hidden_layers: int = 2,
    hidden_units: int = 512,
    dropout: float = 0.5,
) -> keras.Model:
    """Embedding, then LSTMs, then Dense on every token, dropout between all.

    Inputs are a list: `tokens`, int32 [batch, time], then for each LSTM its
    output h and its cell c at the token before, [batch, units]. Outputs are a
    list: the logits of the next tokens, [batch, time, vocabulary], then h and c
    at the last token.

    With V tokens, u = hidden_units * width rounded and d layers the trainable
    parameters are V u + d (8 u² + 4 u) + (u + 1) V: 14,448,400 for 10,000
    tokens. PyTorch, with two biases of each gate, has 4 u d = 4,096 more; both
    are the paper's 14.45 million. The embedding, as wide as an LSTM, is not
    tied to the last layer.

    Args:
        name: Of the model.
        input_shape: (time,), None for any.
        num_classes: Tokens of the vocabulary.
        layers: The makers of the layers; there is no normalization.
        hidden_layers: Number of LSTMs, at least 1.
        hidden_units: Of the embedding and of each LSTM at width 1.
        dropout: Fraction dropped after the embedding and after each LSTM,
            never from one token to the next.
    """
    units = layers.scaled(hidden_units)
    tokens = keras.Input(input_shape, dtype="int32", name="tokens")
    states, last_states = [], []
    x = keras.layers.Embedding(
        num_classes,
        units,
        embeddings_initializer=layers.convention.embedding_initializer(),
        name="embedding",
    )(tokens)
    x = dropout_lib.KeyedDropout(dropout, stream=0, name="dropout0")(x)
    for number in range(1, hidden_layers + 1):
        before = [
            keras.Input((units,), name=f"lstm{number}_{part}") for part in "hc"
        ]
        x, *after = keras.layers.LSTM(
            units,
            return_sequences=True,
            return_state=True,
            name=f"lstm{number}",
            **layers.convention.recurrent_arguments(units),
        )(x, initial_state=before)
        states += before
        last_states += after
        x = dropout_lib.KeyedDropout(
            dropout, stream=number, name=f"dropout{number}"
        )(x)
    logits = layers.logits(x, num_classes)
    return keras.Model([tokens, *states], [logits, *last_states], name=name)


def initial_states(model: keras.Model, batch_size: int) -> list:
    """Returns the state before the first token: zeros, in the model's order.

    Their types are those of the states that come out, so that a compiled loop
    can carry them.
    """
    return [
        ops.zeros((batch_size, output.shape[-1]), output.dtype)
        for output in model.outputs[1:]
    ]
