"""Measurements as TensorBoard scalars, on the TensorFlow backend."""

from tfwd.diagnostics import table
from tfwd.diagnostics.backend import tensorflow_events


class Summaries:
    """Scalars by step, named `<quantity>/<layer>` or `<quantity>`.

    Args:
        folder: Where TensorBoard looks; no other writer writes there.
        first_step: What the folder holds from this step on is void.
    """

    def __init__(self, folder, first_step=0):
        self._file = tensorflow_events.EventFile(folder, first_step)

    def append(self, rows):
        """Writes all numbers of a measurement's rows but epoch and step."""
        for row in rows:
            suffix = "" if row["layer"] == table.MODEL else f"/{row['layer']}"
            values = {
                f"{name}{suffix}": row[name]
                for name in table.NUMBERS
                if row[name] is not None
            }
            self._file.append(row["step"], values)

    def close(self):
        """Closes the file."""
        self._file.close()
