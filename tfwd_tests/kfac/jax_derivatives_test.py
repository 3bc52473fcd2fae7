"""A model that differentiates itself by JAX is refused in one line."""

import jax
import keras
import numpy as np
import pytest

import tfwd

LOSS = keras.losses.MeanSquaredError()


class Force(keras.Model):
    """Returns u and the derivative of u with respect to its first input."""

    def __init__(self):
        super().__init__()
        self.hidden = keras.layers.Dense(5, "tanh")
        self.head = keras.layers.Dense(1)

    def build(self, shape):
        self.hidden.build(shape)
        self.head.build((None, 5))

    def call(self, x):
        def energy(x):
            return keras.ops.sum(self.head(self.hidden(x)))

        slope = jax.grad(energy)(x)[:, :1]
        return keras.ops.concatenate([self.head(self.hidden(x)), slope], 1)


def test_layers_called_inside_a_transformation_are_refused():
    model = Force()
    model.build((None, 4))
    optimizer = tfwd.KFAC(0.1)
    optimizer.attach(model, LOSS)
    with pytest.raises(ValueError, match="outside of jax.grad") as error:
        optimizer.update_factors(np.ones((8, 4), "float32"))
    assert "\n" not in str(error.value)
