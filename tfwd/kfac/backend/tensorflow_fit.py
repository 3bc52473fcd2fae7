"""`fit` and `train_on_batch` with K-FAC on TensorFlow.

Collectives cannot stand inside `tf.cond`, so what is due is decided on the
host, batch by batch: a program for factors, one for inverses, and Keras' own
for the step. Every private name of Keras' TensorFlow trainer (3.10 to 3.15)
is in this file.
"""

import keras
import tensorflow as tf

from tfwd.kfac.backend import tensorflow_backend
from tfwd.kfac.backend import trainer


def make_train_function(model, optimizer, force=False):
    """Makes `model.train_function`; see `trainer.install`.

    Raises:
        ValueError: If the model has a `train_step` of its own, or its strategy
            is of several machines.
    """
    if trainer.is_ready(model, optimizer, force):
        return
    strategy = model.distribute_strategy
    trainer.check_one_worker(model)
    with strategy.scope():
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
    attached, schedule = optimizer.attachment, optimizer.schedule
    attached.keep_refreshed()

    def step(data):
        context = trainer.context_of(
            model, attached, optimizer.preconditioned_backward
        )
        with context:
            return model.train_step(data)

    # Given a list of one batch, Keras' own step takes no iterator.
    take_step = trainer.retried(attached, lambda: model._make_function(step))
    take_factors = _on_replicas(model, attached.add_batch)

    def train_batch(data):
        if attached.rows_hint is None:
            attached.rows_hint = _replica_batch_size(data, strategy)
        batch = int(keras.ops.convert_to_numpy(optimizer.schedule_step()))
        do(schedule.before(batch), data)
        outputs = take_step([data])
        do(schedule.after(batch), data)
        return outputs

    def do(work, data):
        if work.factors:
            attached.check_dense(keras.utils.unpack_x_y_sample_weight(data)[0])
            with tensorflow_backend.full_precision():
                take_factors(data)
        if work.inverses:
            optimizer.update_inverses(work.inverses)
        if work:
            optimizer.warn_of_events()

    def train_function(iterator):
        outputs = train_batch(next(iterator))
        for data in trainer.batches(iterator, model.steps_per_execution - 1):
            outputs = train_batch(data)
        return outputs

    trainer.keep(model, train_function)


def _on_replicas(model, function):
    """Returns a function of batches, compiled, that runs on every replica.

    Args:
        model: The model, whose strategy has the replicas.
        function: A function of a replica's inputs, targets and weights.
    """
    strategy = model.distribute_strategy

    def on_replicas(data):
        batch = keras.utils.unpack_x_y_sample_weight(data)
        strategy.run(function, args=batch)

    if not model.run_eagerly:
        on_replicas = tf.function(
            on_replicas, reduce_retracing=True, jit_compile=model.jit_compile
        )
    # Before Keras 3.12 no part of a batch may be missing.
    convert = getattr(model, "_autoconvert_optionals", None)
    return on_replicas if convert is None else convert(on_replicas)


def _replica_batch_size(data, strategy):
    inputs, _, _ = keras.utils.unpack_x_y_sample_weight(data)
    first = keras.tree.flatten(inputs)[0]
    return strategy.experimental_local_results(first)[0].shape[0]
