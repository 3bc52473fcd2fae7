"""What `tfwd.diagnose` does with its settings: a trained model, measured."""

import keras

from tfwd.diagnostics import mechanisms
from tfwd.diagnostics import metrics
from tfwd.diagnostics import table
from tfwd.training.config import paths
from tfwd.training.config import rules
from tfwd.training.config import usage
from tfwd.training.runs import diagnostics
from tfwd.training.setup import inputs
from tfwd.training.setup import trained


def diagnose(settings):
    """Measures a model, prints the table and writes it where that is asked.

    Args:
        settings: `tfwd.diagnose.Settings`.

    Raises:
        ValueError: A file or a flag does not fit the others.
    """
    found = _found(settings)
    _check(settings, found)
    with inputs.named_damage(lambda: found.source):
        rows, gap = _rows_and_gap(settings, found)
    _write(settings, rows, gap)


def _write(settings, rows, gap):
    print(table.as_text(rows))
    if gap is not None:
        print(f"\ngeneralization gap  {gap:.4g}  (test loss - train loss)")
    if settings.output is not None:
        try:
            table.File(paths.expanded("output", settings.output)).append(rows)
        except OSError as error:
            rules.refuse(
                "output",
                f"must be writable ({error.strerror or error})",
                settings.output,
            )


def _found(settings):
    if settings.checkpoint is not None:
        return trained.of_run(settings.checkpoint, settings.data_dir)
    return trained.of_file(
        settings.model_file,
        settings.dataset,
        settings.data_dir,
        settings.model,
    )


def _check(settings, found):
    names = found.source.split_names
    if settings.split not in names:
        rules.refuse(
            "split",
            f"must be one of {', '.join(names)} for {found.source.name}",
            settings.split,
        )
    diagnostics.check(settings.diagnostics, found.task)


def _rows_and_gap(settings, found):
    """Rows and gap; where a model has none, its file is refused."""
    try:
        with usage.refusals():
            return _measured(settings, found), _gap(settings, found)
    except (NotImplementedError, usage.UsageError) as error:
        if settings.model_file is None:
            raise
        rules.refuse(
            "model_file",
            f"must hold a model that can be measured ({error})",
            settings.model_file,
        )


def _measured(settings, found):
    is_exact = settings.projections is None
    measure = mechanisms.Mechanisms(
        found.model,
        settings.diagnostics,
        loss=_loss(found.model),
        projections=settings.projections,
        estimation="exact" if is_exact else "sampled",
    ).measure
    batches = ()
    if set(settings.diagnostics) - set(diagnostics.WITHOUT_DATA):
        batches = _batches(settings, found, settings.split)
    return [
        {**row, "epoch": found.epoch, "step": found.step}
        for row in measure(batches, found.optimizer)
    ]


def _gap(settings, found):
    """Test loss - train loss; None for texts, whose loss carries states."""
    if found.task == "language_model":
        return None
    return metrics.generalization_gap(
        found.model,
        _batches(settings, found, "train"),
        _batches(settings, found, "test"),
        _loss(found.model),
    )


def _batches(settings, found, split):
    return diagnostics.batches(
        found.source, split, settings.examples, found.strategy
    )


def _loss(model):
    """The loss of a model that is not compiled; None for one that is."""
    if model.compiled:
        return None
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)
