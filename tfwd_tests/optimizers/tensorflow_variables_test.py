"""Plain TensorFlow variables on two replicas, and averages beside float8."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfwd
from tfwd_tests.optimizers import replicas


def applied(make, **variable_arguments):
    """Returns what the copies hold after a step whose gradient is on one."""
    strategy = replicas.strategy()
    with strategy.scope():
        optimizer = make()
        variable = tf.Variable([1.0, 2.0], name="own", **variable_arguments)

    @tf.function
    def step():
        context = tf.distribute.get_replica_context()
        number = tf.cast(context.replica_id_in_sync_group, "float32")
        gradient = [2.0, 12.0] * number  # Nothing on the first replica.
        optimizer.apply_gradients([(gradient, variable)])

    strategy.run(step)
    return [
        copy.numpy() for copy in strategy.experimental_local_results(variable)
    ]


def test_plain_variable_moves_by_the_sum_of_the_replicas_gradients():
    """1 − ½·2 and 2 − ½·12, as with Keras' own SGD."""
    for copy in applied(lambda: tfwd.SGDW(0.5, momentum=0.0)):
        np.testing.assert_array_equal(copy, [0.0, -4.0])


def test_keras_moves_it_as_far():
    for copy in applied(lambda: keras.optimizers.SGD(0.5)):
        np.testing.assert_array_equal(copy, [0.0, -4.0])


@pytest.mark.parametrize("aggregation", ["MEAN", "SUM", "ONLY_FIRST_REPLICA"])
def test_variable_that_aggregates_writes_is_refused_by_name(aggregation):
    expected = rf"Received: own with aggregation='{aggregation.lower()}'"
    with pytest.raises(ValueError, match=expected):
        applied(
            lambda: tfwd.SGDW(0.5),
            aggregation=getattr(tf.VariableAggregation, aggregation),
        )


@pytest.mark.parametrize("frequency", [None, 2])
@pytest.mark.filterwarnings("ignore")
def test_weights_beside_float8_scales_are_averaged(frequency):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.quantize("float8")
    optimizer = tfwd.SGD(
        0.5,
        use_ema=True,
        ema_momentum=0.75,
        ema_overwrite_frequency=frequency,
    )
    kernel = model.layers[0].kernel
    variables = model.trainable_variables
    weights, average = kernel.numpy().astype("float64"), 0.0
    optimizer.build(variables)
    velocity = 0.0
    for step in range(4):
        gradients = [tf.ones(v.shape, v.dtype) for v in variables]
        optimizer.apply(gradients, variables)
        velocity = 0.9 * velocity + 1
        weights = weights - 0.5 * velocity
        beta = 0.75 if step else 0.0
        average = beta * average + (1 - beta) * weights
        if frequency and (step + 1) % frequency == 0:
            weights = average
    np.testing.assert_allclose(kernel.numpy(), weights, rtol=1e-5)
    optimizer.finalize_variable_values(variables)
    np.testing.assert_allclose(kernel.numpy(), average, rtol=1e-5)
