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
        f"{title:<30} {'ours':>8}{'keras':>9}{'ratio':>8}  "
        f"{'quartiles':<13}{'aim':>7}"
    )


def row(name, seconds, aim):
    """Returns the `line` of the `statistics` of seconds."""
    return line(name, statistics(seconds), aim)


def statistics(seconds):
    """Returns medians in ms, the median of the ratios and its quartiles.

    Args:
        seconds: [repeats, 2], neighbours in a row, ours first.
    """
    ours, keras = 1000 * np.median(seconds, axis=0)
    ratios = seconds[:, 0] / seconds[:, 1]
    low, ratio, high = np.quantile(ratios, (0.25, 0.5, 0.75))
    return {
        "ours_ms": ours,
        "keras_ms": keras,
        "ratio": ratio,
        "low": low,
        "high": high,
    }


def line(name, found, aim):
    """Returns a line of a table.

    Args:
        name: What was compared.
        found: Its `statistics`.
        aim: The highest ratio that is aimed at, or None.
    """
    quartiles = f"{found['low']:.3f}-{found['high']:.3f}"
    text = (
        f"{name:<30}{found['ours_ms']:>9.2f}{found['keras_ms']:>9.2f}"
        f"{found['ratio']:>8.3f}  {quartiles:<13}"
        f"{f'<= {aim}' if aim else '':>7}"
    )
    return text.rstrip()
