"""Keras' callbacks, called in our loop as `fit` calls them."""

import keras

from tfwd.training.config import columns
from tfwd.training.config import usage
from tfwd.training.loop import loop as loop_lib

_NOT_LOGGED = ("epoch", "step")


class Hooks:
    """Calls the hooks of a job's callbacks, in Keras' order.

    `on_train_begin`; for each epoch `on_epoch_begin`, `on_train_batch_begin`
    and `on_train_batch_end` around every call of the compiled loop, which
    takes up to `--steps_per_loop` steps as with Keras' `steps_per_execution`,
    `on_test_begin` and `on_test_end` around the evaluation, and
    `on_epoch_end`; at last `on_train_end`, unless an error ends the training.
    The process that goes on with a run begins with `on_train_begin`, and with
    the `on_epoch_begin` of an epoch that had begun already.

    The logs of an epoch are the columns of metrics.csv, and the same by Keras'
    names: `loss`, `accuracy`, and `val_loss`, `val_accuracy` of the validation
    split, or of the test split where there is none. All workers call them.

    A callback that sets `model.stop_training` ends the training after this
    epoch, or, from a batch, after this call, in which case the epoch has
    neither a row nor an `on_epoch_end`. `model.make_train_function(force=True)`
    lets the loop be compiled anew.

    Args:
        job: A `Job`.
        watchdog: A `watchdog.Watchdog`, which pauses meanwhile.
    """

    def __init__(self, job, watchdog):
        self._model = job.model
        self._loop = job.loop
        self._watchdog = watchdog
        self._logs = {}
        if job.callbacks:
            _build_metrics(job)
        self._list = keras.callbacks.CallbackList(
            [*job.features, *job.callbacks],
            model=job.model,
            verbose=0,
            epochs=job.settings.schedule.epochs,
            steps=job.steps_per_epoch,
        )

    def begin(self):
        """Begins the training of this process."""
        self._model.stop_training = False
        # Past Keras' tracking, as the attribute is none of the model's state.
        self._before = vars(self._model).get("make_train_function")
        object.__setattr__(self._model, "make_train_function", self._retrace)
        self._call("on_train_begin")

    def end(self):
        """Ends the training of this process, which has not failed."""
        self._call("on_train_end", self._logs)

    def detach(self):
        """Gives the model its own `make_train_function` back."""
        if self._before is None:
            object.__delattr__(self._model, "make_train_function")
        else:
            object.__setattr__(self._model, "make_train_function", self._before)

    @property
    def stop(self):
        """Whether a callback has asked for the end of the training."""
        return self._model.stop_training

    def begin_epoch(self, epoch):
        """Begins the epoch of this number, from 0."""
        self._call("on_epoch_begin", epoch)

    def end_epoch(self, epoch, row):
        """Ends it, with its row of metrics.csv."""
        self._logs = logs(row)
        self._call("on_epoch_end", epoch, self._logs)

    def begin_call(self, step):
        """Begins a call of the loop at this step of the epoch, from 0."""
        self._call("on_train_batch_begin", step)

    def end_call(self, step, means):
        """Ends it after this step, with the means of the epoch so far."""
        self._call("on_train_batch_end", step, logs(means))

    def begin_evaluation(self):
        """Begins the evaluation after the steps of an epoch.

        Raises:
            NonFiniteError: The weights of a layer, whose norm is to be
                another, are zero or not finite.
        """
        try:
            with usage.refusals():
                self._call("on_test_begin")
        except usage.UsageError as error:
            # What was checked before training still holds: it is the weights.
            raise loop_lib.NonFiniteError(error) from None

    def end_evaluation(self, measured):
        """Ends it, with the columns of all splits."""
        prefix = "val_"
        found = logs(measured).items()
        self._call(
            "on_test_end",
            {
                name.removeprefix(prefix): value
                for name, value in found
                if name.startswith(prefix)
            },
        )

    def _call(self, name, *arguments):
        with self._watchdog.paused():
            getattr(self._list, name)(*arguments)

    def _retrace(self, force=False):
        if force:
            self._loop.retrace()


def logs(row):
    """Returns the logs that callbacks see of columns of metrics.csv."""
    found = {
        name: value
        for name, value in row.items()
        if name not in _NOT_LOGGED and value is not None
    }
    train, *others = columns.SPLITS
    # The first that is there.
    held_out = next(
        (each for each in others if f"{each}_loss" in found), others[0]
    )
    for split, prefix in ((train, ""), (held_out, "val_")):
        for name in tuple(found):
            if name.startswith(f"{split}_"):
                found[prefix + name.removeprefix(f"{split}_")] = found[name]
    return found


def _build_metrics(job):
    """Builds the compiled metrics, which tell whether more of one is better.

    Keras does so before `fit`, and `EarlyStopping` looks at them.
    """
    model = job.model
    if len(model.outputs) > 1:
        return

    def on_replica():
        labels = keras.ops.zeros((1,), "int32")
        outputs = keras.ops.zeros((1, *model.output.shape[1:]))
        model.compute_metrics(None, labels, outputs, None)

    with job.strategy.scope():
        job.strategy.run(on_replica)
        model.reset_metrics()
