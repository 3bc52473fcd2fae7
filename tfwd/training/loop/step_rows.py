"""The rows of steps.csv: one after every so many steps, whatever the epoch."""

from tfwd.training.loop import epoch_metrics


class StepRows:
    """Writes the mean training loss since the row before.

    The sums are in `progress`, and so in a checkpoint.

    Args:
        job: A `Job`, whose `--log_every` may be 0: no rows.
        writers: What gets the rows.
    """

    def __init__(self, job, writers):
        self._job = job
        self._every = job.settings.run.log_every
        self._writers = writers

    def limit(self, step):
        """Steps from `step` to the next row; `None` where there is none."""
        return self._every - step % self._every if self._every else None

    def write(self):
        """Writes a row, if one is due."""
        job, progress = self._job, self._job.progress
        if not self._every or progress.step % self._every:
            return
        row = {
            "step": progress.step,
            "epoch": progress.epoch + 1,
            "learning_rate": job.learning_rate(progress.step),
            **epoch_metrics.of_predictions(
                "train",
                progress.logged_loss / progress.logged_examples,
                progress.logged_correct / progress.logged_examples,
                task=job.task,
            ),
        }
        progress.finish_step_row()
        for writer in self._writers:
            writer.append(row)
