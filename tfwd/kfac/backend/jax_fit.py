"""`fit` and `train_on_batch` with K-FAC on JAX.

Three programs on donated buffers, chosen on the host: factors, inverses, and
Keras' own step.
"""

import functools

import jax
import keras

from tfwd.kfac.backend import jax_backend
from tfwd.kfac.backend import trainer


def make_train_function(model, optimizer, force=False):
    """Makes `model.train_function`; see `trainer.install`.

    Raises:
        ValueError: If the model has a `train_step` of its own.
    """
    if trainer.is_ready(model, optimizer, force):
        return
    compiles = model.jit_compile and not model.run_eagerly
    jit = jax.jit if compiles else lambda function, **_: function
    # Of the wrapper, under `mixed_float16`; the KFAC's own are among them.
    variables = model.optimizer.variables
    places = {id(variable): i for i, variable in enumerate(variables)}
    own = [places[id(variable)] for variable in optimizer.variables]
    counter = places[id(optimizer.schedule_step())]
    attached, schedule = optimizer.attachment, optimizer.schedule
    attached.keep_refreshed()

    def stateless(program):
        def run(values, trainable, non_trainable, *arguments):
            mapping = [
                *zip(variables, values, strict=True),
                *zip(model.trainable_variables, trainable, strict=True),
                *zip(model.non_trainable_variables, non_trainable, strict=True),
            ]
            with keras.StatelessScope(mapping) as scope:
                program(*arguments)
            return [scope.get_current_value(v) for v in variables]

        return jit(run, donate_argnums=0)

    def step(state, data):
        values = [state[2][i] for i in own]
        context = trainer.context_of(
            model,
            attached,
            lambda: optimizer.preconditioned_backward(values),
        )
        with context:
            return model.train_step(state, data)

    # JAX keeps traces by function: a new one is traced anew.
    take_step = trainer.retried(
        attached, lambda: jit(functools.partial(step), donate_argnums=0)
    )
    take_factors = stateless(attached.add_batch)

    @functools.cache
    def take_inverses(units):
        return stateless(lambda: attached.invert(units))

    def train_batch(state, data):
        batch = int(state[2][counter])
        state = do(schedule.before(batch), state, data)
        logs, state = take_step(state, data)
        return logs, do(schedule.after(batch), state, data)

    def do(work, state, data):
        trainable, non_trainable, values, metrics = state
        with jax_backend.full_precision():
            if work.factors:
                batch = keras.utils.unpack_x_y_sample_weight(data)
                attached.check_dense(batch[0])
                values = take_factors(values, trainable, non_trainable, *batch)
            if work.inverses:
                run = take_inverses(work.inverses)
                values = run(values, trainable, non_trainable)
        if work:
            optimizer.warn_of_events([values[i] for i in own])
        return trainable, non_trainable, values, metrics

    def train_function(state, iterator):
        logs, state = train_batch(state, next(iterator))
        for data in trainer.batches(iterator, model.steps_per_execution - 1):
            logs, state = train_batch(state, data)
        return logs, state

    trainer.keep(model, train_function)
