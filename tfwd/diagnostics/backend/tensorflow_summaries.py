"""Rows of a CSV file as TensorBoard scalars, on the TensorFlow backend."""

from tfwd.diagnostics.backend import tensorflow_events


class Summaries:
    """Scalars by step, named as the columns, with `/<layer>` in one's row.

    Args:
        folder: Where TensorBoard looks; no other writer writes there.
        first_step: What the folder holds from this step on is void.
        columns: Those that are written; by default all but the step.
    """

    def __init__(self, folder, first_step=0, columns=None):
        self._file = tensorflow_events.EventFile(folder, first_step)
        self._columns = columns

    def append(self, row, layer=None):
        """Writes the numbers of a row, of one layer or of the model."""
        suffix = f"/{layer}" if layer else ""
        names = self._columns or [name for name in row if name != "step"]
        values = {
            f"{name}{suffix}": row[name]
            for name in names
            if row[name] is not None
        }
        self._file.append(row["step"], values)

    def close(self):
        """Closes the file."""
        self._file.close()
