"""What only TensorFlow has: ragged inputs, and `fit` within wrappers."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfwd
from tfwd_tests import keras_features

LOSS = keras.losses.MeanSquaredError()


class Own(keras.Model):
    """A subclassed model, which says nothing of its inputs."""

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(2)

    def call(self, x):
        return self.dense(x)


def test_a_model_with_a_ragged_input_is_refused_by_attach():
    model = keras.Sequential(
        [
            keras.Input((None,), dtype="int32", ragged=True),
            layers.Embedding(5, 3),
            layers.GlobalAveragePooling1D(),
            layers.Dense(2),
        ]
    )
    with pytest.raises(ValueError, match="dense inputs. Received: .* ragged$"):
        tfwd.KFAC(0.1).attach(model, LOSS)


def test_a_sparse_tensor_is_refused_where_it_is_first_used():
    model, optimizer = Own(), tfwd.KFAC(0.1)
    model(np.ones((4, 4), "float32"))
    optimizer.attach(model, LOSS)
    with pytest.raises(ValueError, match="^`inputs` must be dense .*Tensor$"):
        optimizer.update_factors(
            tf.sparse.from_dense(np.eye(4, dtype="float32"))
        )


@keras_features.needs_multi_optimizer
def test_a_multi_optimizer_of_nothing_else_is_refused_in_fit():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    optimizer = tfwd.KFAC(0.1)
    optimizer.attach(model, LOSS)
    multi = keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(optimizer)
    )
    model.compile(multi, LOSS)
    with pytest.raises(ValueError, match="^KFAC must not stand in a `MultiOpt"):
        model.fit(np.ones((4, 4)), np.ones((4, 2)), verbose=0)
