"""Compares the times of two functions on a machine that is never quiet."""

import time

import keras
import numpy as np

IS_TENSORFLOW = keras.backend.backend() == "tensorflow"
if IS_TENSORFLOW:
    import tensorflow as tf


def alternating_seconds(functions, repeats):
    """Times the functions in turn, so that a busy machine slows all alike.

    Returns:
        Seconds, [repeats, functions]; two calls of each come before.
    """
    for function in functions * 2:
        function()
    return np.array([[_seconds(f) for f in functions] for _ in range(repeats)])


def _seconds(function):
    start = time.perf_counter()
    function()
    if IS_TENSORFLOW:
        tf.test.experimental.sync_devices()
    return time.perf_counter() - start


def header(title):
    """Returns the line above the rows of a table."""
    return (
        f"{title:<30}{'ours':>9}{'keras':>9}{'ratio':>8}  "
        f"{'quartiles':<13}{'aim':>7}"
    )


def row(name, seconds, aim):
    """Returns a line: medians in ms, the median of the ratios, its quartiles.

    Args:
        name: What was compared.
        seconds: [repeats, 2], neighbours in a row, ours first.
        aim: The highest ratio that is aimed at, or None.
    """
    ours, keras = 1000 * np.median(seconds, axis=0)
    ratios = seconds[:, 0] / seconds[:, 1]
    low, ratio, high = np.quantile(ratios, (0.25, 0.5, 0.75))
    line = (
        f"{name:<30}{ours:>9.2f}{keras:>9.2f}{ratio:>8.3f}  "
        f"{f'{low:.3f}-{high:.3f}':<13}{f'<= {aim}' if aim else '':>7}"
    )
    return line.rstrip()
