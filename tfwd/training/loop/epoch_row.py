"""Columns of an epoch's row: those of the weights, the one that counts."""

import keras

from tfwd.training.loop import epoch_metrics
from tfwd.training.setup import optimization as optimizer_lib


def selection(job):
    """The column by which best.keras is chosen, and whether more is better."""
    split = "validation" if "validation" in job.evaluation else "test"
    if job.task == "language_model":
        return f"{split}_perplexity", False
    return f"{split}_accuracy", True


def selected(row, job):
    """Returns what an epoch is judged by, and whether more of it is better."""
    name, more_is_better = selection(job)
    return row[name], more_is_better


def weights(job, update):
    """Returns the columns of weights and their decay after an update."""
    variables = job.model.trainable_variables
    coefficient = _number(job.optimizer.weight_decay) * optimizer_lib.value_at(
        job.plan.weight_decay_factor, update
    )
    return {
        "learning_rate": job.learning_rate(job.progress.step),
        "effective_weight_decay": _number(job.optimizer.effective_weight_decay),
        "penalty": epoch_metrics.penalty(
            variables,
            [
                coefficient * factor
                for factor in job.optimizer.weight_decay_factors
            ],
        ),
        "weight_norm": weight_norm(job),
    }


def weight_norm(job):
    """Returns the 2-norm of all trainable variables."""
    return epoch_metrics.weight_norm(job.model.trainable_variables)


def _number(variable):
    return float(keras.ops.convert_to_numpy(variable))
