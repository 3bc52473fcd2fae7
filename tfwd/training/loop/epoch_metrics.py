"""Numbers of the weights: their norm and what the decay penalizes."""

import itertools
import time

import numpy as np

from tfwd.diagnostics import learning_rates
from tfwd.training.config import columns


def weight_norm(variables):
    """The 2-norm of all variables together, √Σ‖θ‖², in float64."""
    return float(np.sqrt(sum(map(learning_rates.squared_norm, variables))))


def penalty(variables, coefficients):
    """½ Σ λ_i ‖θ_i‖², the penalty whose gradient is the L2 decay λθ.

    Args:
        variables: Keras variables θ_i.
        coefficients: λ_i of each; 0 where a variable does not decay.

    Returns:
        A float.
    """
    return 0.5 * sum(
        coefficient * learning_rates.squared_norm(variable)
        for variable, coefficient in zip(variables, coefficients, strict=True)
        if coefficient
    )


def input_speed(batches, seconds=0.3):
    """Examples per second of an input pipeline that nothing waits for.

    Args:
        batches: A dataset of `Batch`es of a step, all replicas in turn.
        seconds: How long to look.

    Returns:
        A float; the first batch, which starts the pipeline, is not counted.
    """
    iterator = iter(batches)
    next(iterator)
    start = time.perf_counter()
    examples = 0
    for batch in itertools.islice(iterator, 1000):
        examples += batch.labels.shape[0]
        if time.perf_counter() - start > seconds:
            break
    return examples / (time.perf_counter() - start)


def of_predictions(split, loss, accuracy, top_5_accuracy=None, *, task):
    """The columns of a split: loss, accuracy, and perplexity of a text.

    Perplexity is exp(mean loss), infinite where that overflows. The top-5
    accuracy has a column where it is known.
    """
    found = {f"{split}_loss": loss, f"{split}_accuracy": accuracy}
    if top_5_accuracy is not None:
        found[f"{split}_{columns.TOP_5}"] = top_5_accuracy
    if task == "language_model":
        # numpy's overflow is an infinity, Python's an error.
        with np.errstate(over="ignore"):
            found[f"{split}_perplexity"] = float(np.exp(loss))
    return found
