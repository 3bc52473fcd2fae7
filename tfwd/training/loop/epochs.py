"""The epochs of a run, from wherever it stands, and what each leaves behind."""

import itertools
import shutil
import time

from tfwd import durable
from tfwd.optimizers import overshoot
from tfwd.training.checkpoint import due
from tfwd.training.distributed import consensus
from tfwd.training.distributed import strategy as strategy_lib
from tfwd.training.loop import epoch_metrics
from tfwd.training.loop import epoch_row
from tfwd.training.loop import first_nonfinite
from tfwd.training.loop import hooks
from tfwd.training.loop import loop as loop_lib
from tfwd.training.loop import progress_bar
from tfwd.training.loop import step_rows
from tfwd.training.runs import pace


class Epochs:
    """Trains a job to its end, or until it is asked to stop or to pause.

    A checkpoint holds a moment between two compiled calls. What comes after it
    is a function of it, and whatever was written after it is written again.

    Args:
        job: A `Job`.
        writers: `writers.Writers`.
        stop: A `signals.StopRequest`.
        watchdog: A `watchdog.Watchdog`.
        goes_on: A function of the number of finished epochs that says, before
            each epoch, whether it is to be trained.

    Attributes:
        hooks: The `hooks.Hooks` of the job's callbacks.
        stopped: Whether a signal has stopped it.
        has_ended: Whether it is at its end, the last epoch or that in which a
            callback has stopped the training.
    """

    def __init__(self, job, writers, stop, watchdog, goes_on):
        self.job = job
        self.loop = job.loop
        self.progress = job.progress
        self.hooks = hooks.Hooks(job, watchdog)
        self.stopped = False
        self.has_ended = self.progress.epoch == job.settings.schedule.epochs
        self._writers = writers.epochs
        self._step_rows = step_rows.StepRows(job, writers.steps)
        self._pace = pace.Pace()
        self._stop = stop
        self._watchdog = watchdog
        self._goes_on = goes_on
        self._consensus = consensus.Consensus(job.strategy)
        self._every = due.Every(
            job.settings.run.checkpoint_every,
            self.progress.step,
            time.monotonic(),
        )
        self._began = time.perf_counter() - self.progress.elapsed_seconds

    def run(self):
        """Trains.

        Raises:
            NonFiniteError: Loss, gradients or weights became NaN or infinite.
        """
        progress = self.progress
        first = self._consensus.of_chief(progress.step)
        if first != progress.step:
            raise OSError(
                "All workers must see the same checkpoints. Received: that of "
                f"step {first} for the chief, of step {progress.step} here"
            )
        if progress.step and progress.step_in_epoch == 0:
            # The checkpoint may be all that was written of the last epoch.
            self._write_models()
        self.hooks.begin()
        try:
            self._train()
        finally:
            self.hooks.detach()

    def _train(self):
        progress, iterator = self.progress, None
        while (
            not (self.has_ended or self.stopped)
            # A resumed epoch was begun already.
            and (progress.step_in_epoch or self._goes_on(progress.epoch))
        ):
            self.hooks.begin_epoch(progress.epoch)
            if progress.step == 0:
                self._begin()
            if iterator is None:
                iterator = iter(self.job.batches(progress.step))
            if self.job.is_chief:
                print(
                    f"Epoch {progress.epoch + 1}/"
                    f"{self.job.settings.schedule.epochs}",
                    flush=True,
                )
            bar = progress_bar.of(self.job)
            self._pace.begin()
            self._train_epoch(iterator, bar)
            steps = self.job.steps_per_epoch
            if not self.stopped and progress.step_in_epoch == steps:
                self._pace.trained(progress)
                self._finish_epoch(bar)
                self._tell_pace()

    def _begin(self):
        steps = self.job.steps_per_epoch
        if self.job.settings.kfac.cold_start and not (
            # A checkpoint of step 0 holds what it gave.
            self.loop.curvature.had_cold_start
        ):
            if self.job.is_chief:
                print("Averaging K-FAC's factors over the first epoch")
            batches = itertools.islice(self.job.batches(0), steps)
            self.loop.curvature.cold_start(self._watched(batches))
        self._save()
        # The last good state, should the first epoch not end.
        if self.job.is_chief:
            durable.replace(
                self.job.folder.files.last_model, self.job.model.save
            )

    def _watched(self, batches):
        for batch in batches:
            yield batch
            self._watchdog.beat()

    def _train_epoch(self, iterator, bar):
        progress, steps = self.progress, self.job.steps_per_epoch
        if progress.step_in_epoch == 0:
            self.loop.start_epoch()
        while progress.step_in_epoch < steps and not (
            self.stopped or self.has_ended
        ):
            limit = min(
                self.job.settings.run.steps_per_loop,
                steps - progress.step_in_epoch,
                self._every.limit(progress.step) or steps,
                self._step_rows.limit(progress.step) or steps,
            )
            self.hooks.begin_call(progress.step_in_epoch)
            done = self.loop.advance(iterator, progress.step, limit)
            self._watchdog.beat()
            progress.advance(done)
            if not done.is_finite:
                raise loop_lib.NonFiniteError(self._what_is_not_finite())
            means = self._means()
            bar(progress.step_in_epoch, means)
            self._step_rows.write()
            self.hooks.end_call(progress.step_in_epoch - 1, means)
            self.stopped, self.has_ended, is_due = self._consensus.any(
                self._stop.number is not None,
                self.hooks.stop,
                self._every.due(progress.step, time.monotonic()),
            )
            if self.stopped or self.has_ended or is_due:
                # Going on from weights that are not finite would be in vain.
                loop_lib.check_finite(
                    {"weight_norm": epoch_row.weight_norm(self.job)},
                    progress.step,
                )
                self._save()

    def _tell_pace(self):
        left = self.job.settings.schedule.epochs - self.progress.epoch
        line = self._pace.finished(left)
        if line is not None and self.job.is_chief:
            print(line, flush=True)

    def _finish_epoch(self, bar):
        job, progress = self.job, self.progress
        self.loop.average_replica_state()
        self.hooks.begin_evaluation()
        trained, measured = self._means(), {}
        for split in ("validation", "test"):
            if split in job.evaluation:
                measured |= self._evaluated(split)
        self.hooks.end_evaluation(measured)
        speed = None
        if progress.timed_seconds:
            speed = progress.timed_examples / progress.timed_seconds
        row = {
            "step": progress.step,
            "epoch": progress.epoch + 1,
            "elapsed_seconds": round(self._elapsed(), 3),
            **trained,
            **measured,
            **epoch_row.weights(job, job.update_of(progress.step)),
            "examples_per_second": speed,
        }
        loop_lib.check_finite(row, progress.step)
        bar(job.steps_per_epoch, measured, finalize=True)
        self.hooks.end_epoch(progress.epoch, row)
        # Which has told of it.
        progress.overshot = overshoot.message(job.optimizer) is not None
        self.loop.curvature.warn_of_failures()
        progress.finish_epoch(*epoch_row.selected(row, job))
        for writer in self._writers:
            writer.append(row)
        self._save()
        self._write_models()
        (has_stopped,) = self._consensus.any(self.hooks.stop)
        self.has_ended = (
            has_stopped or progress.epoch == job.settings.schedule.epochs
        )

    def _save(self):
        job = self.job
        self.loop.average_replica_state()
        state = self.loop.replica_step.recurrent_state
        self.progress.elapsed_seconds = self._elapsed()
        with self._watchdog.paused():
            job.checkpoints.save(
                self.progress.step,
                self.progress,
                state.gathered() if state else {},
            )
        self._every.saved(self.progress.step, time.monotonic())

    def _write_models(self):
        if self.job.is_chief:
            with self._watchdog.paused():
                durable.replace(
                    self.job.folder.files.last_model, self.job.model.save
                )
                if self.progress.best_epoch == self.progress.epoch:
                    files = self.job.folder.files
                    durable.replace(
                        files.best_model,
                        lambda path: shutil.copyfile(files.last_model, path),
                    )

    def _elapsed(self):
        return time.perf_counter() - self._began

    def _means(self):
        progress = self.progress
        return epoch_metrics.of_predictions(
            "train",
            progress.loss / progress.examples,
            progress.correct / progress.examples,
            task=self.job.task,
        )

    def _evaluated(self, split):
        each = self.job.evaluation[split]
        means = self.loop.evaluate(
            each.batches, each.steps, on_call=self._watchdog.beat
        )
        return epoch_metrics.of_predictions(split, *means, task=self.job.task)

    def _what_is_not_finite(self):
        """One line: the step and the first tensor that was not finite."""
        step = self.progress.step
        batches = self.job.local_batches(step - 1)
        local = strategy_lib.shard(self.job.strategy).count
        names = (
            first_nonfinite.first_tensor(self.loop.replica_step, batch, replica)
            for replica, batch in enumerate(batches.take(local))
        )
        name = next(filter(None, names), None) or "none that is left to see"
        return (
            f"The training loss or a gradient was not finite in step {step}; "
            f"the first such tensor: {name}"
        )
