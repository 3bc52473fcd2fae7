"""A run: a job trained to its end, whatever happens on the way."""

import warnings

import tfwd
from tfwd import durable
from tfwd.callbacks import mechanism_logger
from tfwd.training.distributed import watchdog as watchdog_lib
from tfwd.training.loop import accumulation
from tfwd.training.loop import epoch_metrics
from tfwd.training.loop import epoch_row
from tfwd.training.loop import epochs as epochs_lib
from tfwd.training.loop import loop as loop_lib
from tfwd.training.runs import job as job_lib
from tfwd.training.runs import logs
from tfwd.training.runs import overview
from tfwd.training.runs import run_files
from tfwd.training.runs import signals
from tfwd.training.runs import writers as writers_lib
from tfwd.training.setup import inputs

_MOST_RESTORES = 3


def train(job, goes_on=lambda epochs: True, stop=None):
    """Trains a prepared job and writes its folder.

    Args:
        job: A `Job`.
        goes_on: A function of the number of finished epochs, asked before each
            epoch; false ends the call there, the run being at a checkpoint.
        stop: The `signals.StopRequest` that the run opens; by default a new
            one. It tells the caller of a signal that came when the run was at
            its end, or fails afterwards.

    Returns:
        Exit code: 0, or 128 + the number of the signal that stopped the run,
        which has saved a checkpoint.

    Raises:
        NonFiniteError: A loss was NaN or infinite, for good; last.keras and
            metrics.csv hold the last finished epoch.
        CheckpointWriteError: A checkpoint could not be written.
    """
    try:
        return _train(job, goes_on, stop or signals.StopRequest())
    finally:
        job.folder.release()


def _train(job, goes_on, stop):
    settings = job.settings
    if job.folder.is_complete:
        print(f"{job.folder.path} is complete: nothing is left to train")
        return 0
    if job.progress.step:
        print(f"Going on from the checkpoint of step {job.progress.step}")
    with (
        stop,
        watchdog_lib.Watchdog(settings.run.step_timeout) as watchdog,
    ):
        while True:
            try:
                epochs = _train_once(job, stop, watchdog, goes_on)
                break
            except loop_lib.NonFiniteError as error:
                restores = job.progress.restores + 1
                if settings.run.on_nan == "stop" or restores > _MOST_RESTORES:
                    raise _with_last_state(job, error) from error
                job = job_lib.prepare(settings, job)
                print(
                    f"{error}. Going on from the checkpoint of step "
                    f"{job.progress.step} with half the learning rate "
                    f"({restores} of {_MOST_RESTORES})"
                )
        if epochs.stopped:
            print(
                f"Stopped by {stop.name} after step {job.progress.step}; "
                "the same command goes on from there"
            )
            epochs.hooks.end()
            return stop.exit_code
        if not epochs.has_ended:
            epochs.hooks.end()
            return 0
        _finish(job, epochs.hooks, watchdog)
    return 0


def evaluate(loop, evaluation, task):
    """Prints loss and accuracy of a model on every split, writes nothing."""
    variables = loop.replica_step.model.trainable_variables
    rows = _measured(loop, evaluation, task)
    print(logs.table(rows, epoch_metrics.weight_norm(variables)))


def _train_once(job, stop, watchdog, goes_on):
    if job.is_chief:
        _describe(job)
    with writers_lib.opened(job) as writers:
        epochs = epochs_lib.Epochs(job, writers, stop, watchdog, goes_on)
        try:
            epochs.run()
        finally:
            if job.is_chief:
                _draw(job)
    return epochs


def _describe(job):
    speed = epoch_metrics.input_speed(job.local_batches(0))
    print(overview.text(job, speed))
    if job.initial is not None:
        print(job.initial)
    durable.write_text(
        job.folder.files.description,
        logs.as_json(
            logs.description(
                tfwd.__version__,
                job.strategy,
                job.model,
                job.optimizer,
                epoch_row.selection(job)[0],
                speed,
                job.built.registration,
            )
            | {"accumulation": _accumulation(job)}
        ),
    )


def _accumulation(job):
    return accumulation.description(
        inputs.windows(job.settings, job.source), job.settings.data.batch_size
    )


def _finish(job, hooks, watchdog):
    if job.settings.optimizer.use_ema:
        # As `fit` does at its end; the rows before are those of the raw
        # weights.
        with job.strategy.scope():
            job.optimizer.finalize_variable_values(
                job.model.trainable_variables
            )
    hooks.end()
    files = job.folder.files
    if job.is_chief:
        with watchdog.paused():
            durable.replace(files.final_model, job.model.save)
            files.last_model.unlink(missing_ok=True)
    # A collective: all workers evaluate.
    rows = _measured(job.loop, job.evaluation, job.task, watchdog.beat)
    if job.is_chief:
        norm = epoch_metrics.weight_norm(job.model.trainable_variables)
        print(overview.of_table(job))
        print(logs.table(rows, norm))
        for each in files.existing():
            print(each)


def _measured(loop, evaluation, task, on_call=lambda: None):
    """The rows of the final table, {split: {measure: value}}."""
    rows = {}
    for split, each in evaluation.items():
        means = loop.evaluate(each.batches, each.steps, on_call=on_call)
        rows[split] = {
            name.removeprefix(f"{split}_"): value
            for name, value in epoch_metrics.of_predictions(
                split, *means, task=task
            ).items()
        }
    return rows


def _draw(job):
    """Draws the plots; one that fails never stops a run."""
    path, settings = job.folder.path, job.settings
    title = (
        f"{settings.model.model} on {settings.data.dataset}, "
        f"{settings.optimizer.optimizer}"
    )
    for draw in (mechanism_logger.draw, _draw_curves):
        try:
            draw(path, title)
        except Exception as error:
            warnings.warn(f"A plot is missing ({error})", stacklevel=2)


def _draw_curves(path, title):
    files = run_files.Files(path)
    if not files.metrics.exists():
        return
    rows = logs.read(files.metrics)
    if rows:
        # Slow to import, and of no use before.
        from tfwd.training.runs import curves

        durable.replace(
            files.curves,
            lambda partial: curves.draw(rows, title, partial),
        )


def _with_last_state(job, error):
    """The same error, with the place of the last good state."""
    return loop_lib.NonFiniteError(
        f"{error}; the state before this epoch is in "
        f"{job.folder.files.last_model}. A lower --learning_rate may help. "
        "Received: "
        f"--learning_rate={job.learning_rate(1)}"
    )
