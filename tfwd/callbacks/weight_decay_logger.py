"""A callback that puts what weight decay does into the logs of `fit`."""

import collections

import keras

from tfwd.optimizers import decay_report
from tfwd.optimizers import wrappers


class WeightDecayLogger(keras.callbacks.Callback):
    """Adds to the logs, at the end of each epoch, how fast weights decay.

    | key                        | what it is                                |
    |----------------------------|-------------------------------------------|
    | `weight_decay`             | λₜ, with its schedule                     |
    | `effective_weight_decay`   | sₜλₜ; s is 1 in every mode but `"stable"` |
    | `skipped_steps`            | how many steps were skipped so far        |
    | `averaging_time`           | 1/(ηₜsₜλₜ), in steps; 1/λₜ in mode        |
    |                            | `"independent"`; `inf` without decay      |
    | `averaging_time_in_epochs` | the same over the steps of this epoch     |

    λₜ, ηₜ and sₜ are those of the last step; skipped, it leaves sₜλₜ as it
    was, 0 before the first that is taken. After an averaging time 1/e of a
    weight is left that nothing else moves, if its factors of η and λ are one:
    the weights are, roughly, an average over the updates of so many steps. The
    modes `"l2"` and `"elementwise"` have no such number, and there the two keys
    are left out.

    Keras hands the logs from one callback to the next, so this one must stand
    before those that shall see the keys, such as `CSVLogger`, `TensorBoard` or
    those of MLflow and W&B. The `History` that `fit` returns has them in any
    case. Within `LossScaleOptimizer` they are those of the optimizer inside;
    of several in a `MultiOptimizer` each is followed by `_` and the name of
    its optimizer, and by its number where names repeat. Optimizers of others
    add nothing.

    Example:
    >>> model.compile(optimizer=tfwd.AdamS(1e-3, weight_decay=5e-4), loss="mse")
    >>> callback = tfwd.WeightDecayLogger()
    >>> history = model.fit(x, y, callbacks=[callback], verbose=0)

    References:
        Wang & Aitchison 2024, "How to set AdamW's weight decay as you scale
        model and dataset size" (https://arxiv.org/abs/2405.13698), for 1/(ηλ)
        as the timescale of an average of updates.
    """

    def on_epoch_begin(self, epoch, logs=None):
        """Counts the steps from here."""
        self._optimizers = wrappers.decaying_optimizers(self.model.optimizer)
        self._steps = [
            decay_report.number(o.iterations) for o in self._optimizers
        ]

    def on_epoch_end(self, epoch, logs=None):
        """Adds the keys."""
        suffixes = _suffixes([o.name for o in self._optimizers])
        for optimizer, suffix, before in zip(
            self._optimizers, suffixes, self._steps, strict=True
        ):
            steps = decay_report.number(optimizer.iterations) - before
            for key, value in _values(optimizer, steps).items():
                logs[key + suffix] = value


def _values(optimizer, steps):
    """Returns {key: value} of an optimizer after an epoch of so many steps."""
    step = optimizer.last_schedule_step()
    values = {
        "weight_decay": decay_report.number(
            optimizer.scheduled_weight_decay(step)
        ),
        "effective_weight_decay": decay_report.number(
            optimizer.effective_weight_decay
        ),
        "skipped_steps": int(decay_report.number(optimizer.skipped_steps)),
    }
    time = decay_report.averaging_time(decay_report.decay_rate(optimizer))
    if time is not None:
        values["averaging_time"] = time
        # An epoch without a step, of accumulated gradients, is none to count.
        values["averaging_time_in_epochs"] = time / max(steps, 1)
    return values


def _suffixes(names):
    """Returns what tells optimizers apart: "" for one, else their names."""
    if len(names) == 1:
        return [""]
    counts = collections.Counter(names)
    return [
        f"_{name}" if counts[name] == 1 else f"_{name}_{i}"
        for i, name in enumerate(names)
    ]
