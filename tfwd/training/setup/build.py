"""Model, optimizer and loop of a run, made in the scope of its strategy."""

import dataclasses

import keras

from tfwd import kfac
from tfwd import models
from tfwd.diagnostics.scale_invariance import decay_scope
from tfwd.training.config import choices
from tfwd.training.distributed import strategy as strategy_lib
from tfwd.training.loop import accumulation
from tfwd.training.loop import kfac_work
from tfwd.training.loop import loop as loop_lib
from tfwd.training.loop import loss_scale as loss_scale_lib
from tfwd.training.loop import recurrent_state
from tfwd.training.loop import step as step_lib
from tfwd.training.loop import top_5
from tfwd.training.setup import inputs
from tfwd.training.setup import limits
from tfwd.training.setup import model_function


@dataclasses.dataclass(frozen=True)
class Built:
    """A model with its optimizer.

    `registration` is the report of K-FAC's `attach`, None for other optimizers.
    """

    model: keras.Model
    optimizer: keras.optimizers.Optimizer
    registration: object | None


def build(settings, strategy, source, plan):
    """Makes the model and the optimizer, both with all their variables.

    Args:
        settings: `Settings`.
        strategy: The strategy of the run.
        source: The data set.
        plan: The `optimizer.Plan`.

    Returns:
        A `Built`.

    Raises:
        ValueError: The model does not fit the data, or the optimizer the model.
    """
    keras.config.set_dtype_policy(settings.model.dtype_policy)
    with strategy.scope():
        model = _model(settings, source)
        workers = strategy_lib.num_workers(strategy)
        limits.check_batches(settings, model, workers)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        factors, scope = None, settings.optimizer.decay_scope
        if scope != "all" and settings.optimizer.decay_scope_from_epoch == 0:
            factors = decay_scope.factors(model, scope)
        optimizer = plan.create()
        registration = None
        if isinstance(optimizer, kfac.KFAC):
            registration = optimizer.attach(model, loss=loss)
        optimizer.build(model.trainable_variables)
        if factors is not None:
            optimizer.restrict_weight_decay(factors)
        # Not used by the loop: callbacks find the optimizer, the saved model
        # holds its state and can be evaluated by whoever loads it.
        has_logits_alone = len(model.outputs) == 1
        model.compile(
            optimizer=optimizer,
            loss=loss if has_logits_alone else None,
            metrics=["accuracy"] if has_logits_alone else None,
            auto_scale_loss=False,
        )
    return Built(model, optimizer, registration)


def _model(settings, source):
    if choices.is_function(settings.model.model):
        return model_function.build(settings.model.model, source)
    limits.check_model(settings.model, source.input_shape, source.num_classes)
    return models.build(
        settings.model.model,
        source.input_shape,
        source.num_classes,
        width=settings.model.width,
        batch_norm=settings.model.batch_norm,
        convention=settings.model.convention,
        sync_batch_norm=settings.model.sync_batch_norm,
        hidden_layers=settings.model.hidden_layers,
        hidden_units=settings.model.hidden_units,
        dropout=settings.model.dropout,
    )


def make_loop(settings, strategy, source, model, optimizer=None):
    """Returns the `Loop` of a model; without optimizer, for evaluation."""
    scale = state = accumulated = windows = None
    finds_scale = settings.optimizer.loss_scale_factor is None
    if settings.model.dtype_policy == "mixed_float16" and finds_scale:
        with strategy.scope():
            scale = loss_scale_lib.DynamicLossScale()
    if len(model.outputs) > 1:
        state = recurrent_state.RecurrentState(
            strategy, model, settings.data.batch_size
        )
    if (
        optimizer is not None
        and settings.optimizer.accumulation_steps is not None
    ):
        windows = inputs.windows(settings, source)
        with strategy.scope():
            accumulated = accumulation.Accumulated(model.trainable_variables)
    finish = inputs.finisher(settings.data, source)
    step = step_lib.Step(
        model,
        optimizer,
        finish=finish,
        curvature=kfac_work.of(strategy, optimizer, finish, windows),
        loss_scale=scale,
        recurrent_state=state,
        accumulated=accumulated,
        smoothing=settings.optimizer.label_smoothing,
        counts_top_5=top_5.applies(
            choices.task(settings.model.model), source.num_classes
        ),
    )
    return loop_lib.Loop(strategy, step, settings.model.jit_compile, windows)
