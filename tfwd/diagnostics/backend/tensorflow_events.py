"""Scalars as an event file, which TensorBoard reads while it grows.

A reader goes through the files of a folder in the order of their names and
never comes back to one that has a successor. So each writer has a folder of
its own, and a run that goes on adds a file behind those that are there.
"""

import os
import pathlib
import socket
import time

import tensorflow as tf

_PREFIX = "events.out.tfevents."
_SCALAR = tf.compat.v1.SummaryMetadata(
    plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars")
)


class EventFile:
    """One event file; what is written is for readers to see at once.

    Args:
        folder: Its folder, made if need be, which no other writer has.
        first_step: What earlier files of the folder hold from this step on is
            void, since it is written again.
    """

    def __init__(self, folder, first_step=0):
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._file = tf.io.TFRecordWriter(str(folder / _next_name(folder)))
        self._write(file_version="brain.Event:2")
        self._write(
            step=first_step,
            session_log=tf.compat.v1.SessionLog(
                status=tf.compat.v1.SessionLog.START
            ),
        )
        self._file.flush()

    def append(self, step, values):
        """Writes {tag: number} of a step."""
        summary = tf.compat.v1.Summary()
        for tag, value in values.items():
            summary.value.add(
                tag=tag,
                metadata=_SCALAR,
                tensor=tf.make_tensor_proto(value, tf.float32),
            )
        self._write(step=step, summary=summary)
        self._file.flush()

    def close(self):
        """Closes the file."""
        self._file.close()

    def _write(self, **fields):
        event = tf.compat.v1.Event(wall_time=time.time(), **fields)
        self._file.write(event.SerializeToString())


def _next_name(folder):
    """A name behind those of a folder, whose writers' clocks may be ahead."""
    taken = [
        int(number)
        for number in (
            path.name.removeprefix(_PREFIX).partition(".")[0]
            for path in folder.glob(f"{_PREFIX}*")
        )
        if number.isdecimal()
    ]
    number = max([int(time.time()), *(each + 1 for each in taken)])
    return f"{_PREFIX}{number:010d}.{socket.gethostname()}.{os.getpid()}.v2"
