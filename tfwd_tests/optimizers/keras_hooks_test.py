"""The private names of Keras that the optimizers rely on, and their version.

Checked on Keras 3.10 to 3.15. When a name is gone or called otherwise, read
Keras' `optimizers/base_optimizer.py` and `backend/tensorflow/optimizer.py`
before changing the expectation.
"""

import inspect

import keras
import pytest

import tfwd

COMMON = {
    "_backend_apply_gradients": ["grads", "trainable_variables"],
    "_clip_gradients": ["grads"],
    "_backend_update_step": ["grads", "trainable_variables", "learning_rate"],
    "_apply_weight_decay": ["variables"],
    "_get_variable_index": ["variable"],
    "_update_model_variables_moving_average": ["trainable_variables"],
    "_overwrite_variable_with_gradient": ["variable"],
}
TENSORFLOW = {
    "_all_reduce_sum_gradients": ["grads_and_vars"],
    "_backend_increment_gradient_accumulators": ["grads", "acc_grads"],
    "_overwrite_model_variables_with_average_value": ["trainable_variables"],
}
METHODS = COMMON | (
    TENSORFLOW if keras.backend.backend() == "tensorflow" else {}
)


@pytest.mark.parametrize("name", METHODS)
def test_private_method_takes_what_it_took(name):
    method = getattr(keras.optimizers.Optimizer, name)
    parameters = list(inspect.signature(method).parameters)
    assert parameters == ["self", *METHODS[name]]


def test_private_state_is_where_it_was():
    optimizer = tfwd.SGD(use_ema=True, gradient_accumulation_steps=2)
    variable = keras.Variable([1.0])
    optimizer.build([variable])
    assert optimizer.schedule_step() is optimizer._iterations
    assert optimizer.last_learning_rate() is optimizer._learning_rate
    assert optimizer.model_variables() == [variable]
    assert len(optimizer._accumulated_gradients) == 1
    assert len(optimizer._model_variables_moving_average) == 1
    if keras.backend.backend() == "tensorflow":
        assert optimizer._distribution_strategy.num_replicas_in_sync == 1
