"""Checkpoints of a run: written whole or not at all, restored or refused."""

import contextlib
import itertools
import json
import os
import shutil
import tempfile

import tensorflow as tf

from tfwd import durable
from tfwd.training.checkpoint import stored as stored_lib
from tfwd.training.config import rules

_STATE_FILE = "checkpoint"
# Where those go that could not be read or were not continued.
_ASIDE = "aside"
_PARTIAL = ".partial-"


class CheckpointWriteError(OSError):
    """A checkpoint could not be written; those before are as they were."""


class Checkpoints:
    """The checkpoints of one run in one folder.

    A file is complete and on disk once it has its name: it is written in a
    hidden folder, synced and then renamed, last the index, without which the
    rest is not looked at. Nothing is deleted before its successor is complete,
    and what could not be read is never deleted but moved to the folder
    `aside`. What is saved again in the same step gets a name of its own for
    the same reason.

    Under a strategy a variable is saved as its first replica holds it, and
    restored to all of them, so that checkpoints move between strategies.
    Workers that are not the chief write to a scratch folder, since reading a
    variable can need all of them, and restore from the chief's.

    Args:
        folder: A `pathlib.Path`, made with the first checkpoint.
        keep: How many are kept, the newest.
        variables: For each group, e.g. "model" and "optimizer", its Keras
            variables, all of them built. For a model these are
            `model.variables`, with the states of its seed generators.
        is_chief: Whether this process writes to `folder`.
        kinds: {"optimizer": "AdamS", ...}: names that must be the same when
            restoring.

    Raises:
        ValueError: A variable occurs twice, or TensorFlow could not find the
            folder again.
    """

    def __init__(self, folder, keep, variables, is_chief=True, kinds=None):
        check_folder(folder)
        self._folder = folder
        self._keep = keep
        self._variables = {name: list(each) for name, each in variables.items()}
        self._is_chief = is_chief
        self._kinds = kinds or {}
        self._unreadable = set()
        seen = set()
        for variable in itertools.chain(*self._variables.values()):
            # TensorFlow would save it under one of its two names.
            if id(variable) in seen:
                raise ValueError(
                    "`variables` must hold each variable once. "
                    f"Received: {variable.path} twice"
                )
            seen.add(id(variable))

    def save(self, step, progress, extra=None):
        """Writes a checkpoint, then deletes what is no longer to be kept.

        Checkpoints of later steps are moved aside: they could not be read, or
        are of a run that was not continued, and must not pass for newer.

        Args:
            step: Training steps so far.
            progress: The `progress.Progress` in that step.
            extra: {name: tensor}, what else the next step depends on.

        Raises:
            CheckpointWriteError: The disk is full, or the folder cannot be
                written.
        """
        extra = extra or {}
        snapshot = tf.train.Checkpoint(
            description=_Text(
                json.dumps(
                    stored_lib.describe(self._kinds, self._variables, extra)
                )
            ),
            progress=_Text(progress.to_json()),
            values={
                **{
                    group: [variable.value for variable in members]
                    for group, members in self._variables.items()
                },
                stored_lib.EXTRA: [
                    tf.Variable(tensor) for tensor in extra.values()
                ],
            },
        )
        try:
            if self._is_chief:
                self._write(snapshot, step)
            else:
                with tempfile.TemporaryDirectory() as scratch:
                    snapshot.write(os.path.join(scratch, "ckpt"))
        except (OSError, tf.errors.OpError) as error:
            raise CheckpointWriteError(
                f"Cannot write a checkpoint of step {step} to {self._folder} "
                f"({stored_lib.reason(error)}); {self._newest_complete()}"
            ) from error

    def restore(self, stored):
        """Assigns a checkpoint to the variables.

        Args:
            stored: What `stored.read_newest(folder)` returned.

        Raises:
            ValueError: It is of another model or optimizer; says what differs.
                No variable has been touched then.
        """
        here = stored_lib.describe(self._kinds, self._variables, {})
        stored = stored_lib.completed(stored, here)
        found = stored_lib.differences(stored.description, here)
        first = list(itertools.islice(found, 4))
        if first:
            more = ["..."] if len(first) == 4 else []
            raise ValueError(
                "A checkpoint must be of the same model and optimizer. "
                f"Received: {stored.path}, where "
                f"{'; '.join([*first[:3], *more])}"
            )
        for group, members in self._variables.items():
            for variable, value in zip(
                members, stored.values[group], strict=True
            ):
                if value is not None:
                    variable.assign(value)
        self._unreadable = set(stored.unreadable)

    def _write(self, snapshot, step):
        durable.make_folder(self._folder)
        self._remove_leftovers()
        before = stored_lib.names(self._folder)
        name = _next_name(step, before)
        partial = self._folder / f"{_PARTIAL}{name}"
        try:
            snapshot.write(str(partial / "ckpt"))
            self._publish(partial, name)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        partial.rmdir()
        aside = {
            each
            for each in before
            if stored_lib.order(each)[0] > step or each in self._unreadable
        }
        older = [
            each
            for each in before
            if each not in aside and stored_lib.order(each)[0] < step
        ]
        kept = [*older, name][-self._keep :]
        self._list(kept)
        for each in before:
            if each in aside:
                self._set_aside(each)
            elif each not in kept:
                self._delete(each)

    def _publish(self, partial, name):
        """Gives a checkpoint that is on disk its name, the index last."""
        index, *data = sorted(
            partial.iterdir(), key=lambda p: ".data-" in p.name
        )
        for path in (*data, index):
            durable.sync(path)
        for paths in (data, [index]):
            for path in paths:
                os.replace(
                    path,
                    self._folder / path.name.replace("ckpt", name, 1),
                )
            durable.sync_folder(self._folder)

    def _delete(self, name):
        # The index first: without it the rest is no checkpoint.
        (self._folder / f"{name}.index").unlink()
        for path in self._folder.glob(f"{name}.data-*"):
            path.unlink()

    def _set_aside(self, name):
        folder = self._folder / _ASIDE
        folder.mkdir(exist_ok=True)
        number = len(list(folder.glob("*.index")))
        # The index last: without it the rest passes for a leftover.
        for path in sorted(self._folder.glob(f"{name}.*")):
            os.replace(path, folder / f"{number}-{path.name}")

    def _list(self, names):
        """Rewrites the file by which TensorFlow finds the newest one."""
        lines = [f'model_checkpoint_path: "{names[-1]}"']
        lines += [f'all_model_checkpoint_paths: "{name}"' for name in names]
        durable.write_text(self._folder / _STATE_FILE, "\n".join(lines) + "\n")

    def _remove_leftovers(self):
        """Deletes what an interrupted write has left, which is no checkpoint.

        Its space may be what the next one lacks.
        """
        for pattern in (f"{_PARTIAL}*", "ckpt-*_temp"):
            for path in self._folder.glob(pattern):
                shutil.rmtree(path, ignore_errors=True)
        for path in self._folder.glob("ckpt-*.data-*"):
            name = path.name.partition(".data-")[0]
            if not path.with_name(f"{name}.index").exists():
                path.unlink()

    def _newest_complete(self):
        with contextlib.suppress(OSError):
            names = stored_lib.names(self._folder)
            if names:
                return f"the newest complete one is {names[-1]}"
        return "there is no earlier one"


def check_folder(folder):
    """Checks that TensorFlow finds again what it writes to a folder.

    Raises:
        ValueError: The path would be a pattern to it.
    """
    if set(str(folder)) & set("*?[\\"):
        rules.refuse("output_dir", "must hold none of * ? [ \\", folder)


def _next_name(step, names):
    """A name of the step that is not taken."""
    taken = [
        stored_lib.order(name)
        for name in names
        if stored_lib.order(name)[0] == step
    ]
    if not taken:
        return f"ckpt-{step}"
    return f"ckpt-{step}-{(*max(taken), 0)[1] + 1}"


class _Text(tf.train.experimental.PythonState):
    """A text in a checkpoint; it is read without this class."""

    def __init__(self, text):
        self._text = text

    def serialize(self):
        return self._text

    def deserialize(self, value):
        self._text = value
