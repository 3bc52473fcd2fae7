"""A run: epochs of training, each followed by evaluation, a row and files."""

import itertools
import shutil
import sys
import time

import keras

import tfwd
from tfwd.optimizers import overshoot
from tfwd.training import curves
from tfwd.training import logs
from tfwd.training import loop as loop_lib
from tfwd.training import measures
from tfwd.training import optimizer as optimizer_lib
from tfwd.training import output


def train(job):
    """Trains a prepared job and writes its folder.

    Args:
        job: A `Job`.

    Raises:
        NonFiniteLossError: A loss was NaN or infinite; last.keras and
            metrics.csv hold the last finished epoch.
    """
    output.write_text(
        job.folder / "run.json",
        logs.as_json(
            logs.description(
                tfwd.__version__,
                job.strategy,
                job.model,
                job.optimizer,
                _best_by(job),
                job.registration,
            )
        ),
    )
    loop = loop_lib.Loop(
        job.strategy, job.model, job.optimizer, job.settings.steps_per_loop
    )
    writers = [logs.MetricsFile(job.folder / "metrics.csv")]
    if job.settings.tensorboard:
        writers.append(logs.TensorBoard(job.folder / "tensorboard"))
    try:
        _train_epochs(job, loop, writers)
    except loop_lib.NonFiniteLossError as error:
        raise _with_last_state(job, error) from None
    finally:
        for writer in writers:
            writer.close()
        _draw_curves(job)
    _save_final(job)
    _print_table(loop, job.model, job.evaluation)
    for name in output.NAMES:
        if (job.folder / name).exists():
            print(job.folder / name)


def evaluate(strategy, model, batches):
    """Prints loss and accuracy of a model on every split, writes nothing."""
    _print_table(loop_lib.Loop(strategy, model), model, batches)


def _train_epochs(job, loop, writers):
    settings = job.settings
    start = time.perf_counter()
    iterator = iter(job.training.dataset)
    best, overshot = None, False
    if settings.cold_start:
        print("Averaging K-FAC's factors over the first epoch")
        batches = itertools.islice(job.training.dataset, job.training.steps)
        loop.curvature.cold_start(batches)
    # The last good state, should the first epoch not end.
    output.replace(job.folder / "last.keras", job.model.save)
    for epoch in range(1, settings.epochs + 1):
        print(f"Epoch {epoch}/{settings.epochs}")
        bar = _progress_bar(job.training.steps)
        trained = loop.train(
            iterator, job.training.steps, lambda *done, bar=bar: bar(*done)
        )
        measured = {}
        for name in ("validation", "test"):
            if name in job.evaluation:
                each = job.evaluation[name]
                measured |= loop.evaluate(each.dataset, each.steps, name)
        row = {
            "step": loop.step,
            "epoch": epoch,
            "elapsed_seconds": round(time.perf_counter() - start, 3),
            **trained,
            **measured,
            **_weights(job, loop.step),
        }
        loop_lib.check_finite(row, loop.step)
        bar(job.training.steps, measured, finalize=True)
        overshot = overshot or _report_overshoot(job)
        loop.curvature.warn_of_failures()
        output.replace(job.folder / "last.keras", job.model.save)
        if best is None or row[_best_by(job)] > best:
            best = row[_best_by(job)]
            _copy(job, "last.keras", "best.keras")
        for writer in writers:
            writer.append(row)


def _weights(job, step):
    """The columns that describe weights and their decay after `step`."""
    variables = job.model.trainable_variables
    coefficient = _number(job.optimizer.weight_decay) * optimizer_lib.value_at(
        job.plan.weight_decay_factor, step
    )
    return {
        "learning_rate": optimizer_lib.value_at(job.plan.learning_rate, step),
        "effective_weight_decay": _number(job.optimizer.effective_weight_decay),
        "penalty": measures.penalty(
            variables,
            [
                coefficient * factor
                for factor in job.optimizer.weight_decay_factors
            ],
        ),
        "weight_norm": measures.weight_norm(variables),
    }


def _best_by(job):
    name = "validation" if "validation" in job.evaluation else "test"
    return f"{name}_accuracy"


def _progress_bar(steps):
    """A function of (steps done, values) that draws Keras' progress bar."""
    bar = keras.utils.Progbar(
        steps,
        # A log file gets one line per epoch instead of a moving bar.
        verbose=1 if sys.stdout.isatty() else 2,
        # They arrive averaged over the epoch so far.
        stateful_metrics=logs.COLUMNS,
    )

    def update(done, values, finalize=False):
        bar.update(done, list(values.items()), finalize=finalize)

    return update


def _report_overshoot(job):
    text = overshoot.message(job.optimizer)
    if text is not None:
        print(text)
    return text is not None


def _save_final(job):
    if not job.settings.use_ema:
        (job.folder / "last.keras").replace(job.folder / "final.keras")
        return
    # As `fit` does at its end; the rows before are those of the raw weights.
    with job.strategy.scope():
        job.optimizer.finalize_variable_values(job.model.trainable_variables)
    output.replace(job.folder / "final.keras", job.model.save)
    (job.folder / "last.keras").unlink()


def _print_table(loop, model, batches):
    rows = {}
    for name, each in batches.items():
        means = loop.evaluate(each.dataset, each.steps, name)
        rows[name] = means[f"{name}_loss"], means[f"{name}_accuracy"]
    norm = measures.weight_norm(model.trainable_variables)
    print(logs.table(rows, norm))


def _draw_curves(job):
    rows = logs.read(job.folder / "metrics.csv")
    if rows:
        settings = job.settings
        title = f"{settings.model} on {settings.dataset}, {settings.optimizer}"
        output.replace(
            job.folder / "curves.png",
            lambda path: curves.draw(rows, title, path),
        )


def _with_last_state(job, error):
    """The same error, with the place of the last good state."""
    return loop_lib.NonFiniteLossError(
        f"{error}; the state before this epoch is in "
        f"{job.folder / 'last.keras'}. A lower --learning_rate may help. "
        "Received: "
        f"--learning_rate={optimizer_lib.value_at(job.plan.learning_rate, 1)}"
    )


def _copy(job, source, target):
    output.replace(
        job.folder / target,
        lambda path: shutil.copyfile(job.folder / source, path),
    )


def _number(variable):
    return float(keras.ops.convert_to_numpy(variable))
