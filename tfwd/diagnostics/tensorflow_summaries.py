"""Measurements as TensorBoard scalars, on the TensorFlow backend."""

import tensorflow as tf

from tfwd.diagnostics import table


class Summaries:
    """Scalars by step, named `<quantity>/<layer>` or `<quantity>`.

    Args:
        folder: Where TensorBoard looks.
    """

    def __init__(self, folder):
        self._writer = tf.summary.create_file_writer(str(folder))

    def append(self, rows):
        """Writes all numbers of a measurement's rows but epoch and step."""
        with self._writer.as_default():
            for row in rows:
                suffix = (
                    "" if row["layer"] == table.MODEL else f"/{row['layer']}"
                )
                for name in table.NUMBERS:
                    if row[name] is not None:
                        tf.summary.scalar(
                            f"{name}{suffix}", row[name], row["step"]
                        )
        self._writer.flush()

    def close(self):
        """Closes the file."""
        self._writer.close()
