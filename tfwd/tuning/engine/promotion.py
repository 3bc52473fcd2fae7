"""A promoted trial goes on from the run of another."""

import os
import shutil

from tfwd import durable
from tfwd.training.runs import lock


def copy(source, target):
    """Copies the folder of a run, whole or not at all.

    Args:
        source: The `pathlib.Path` of the run to go on from; without it nothing
            is done, and the run begins anew.
        target: The `pathlib.Path` of the run that goes on; one that is there
            already is left.

    Raises:
        tfwd.durable.WriteError: The disk is full.
    """
    if target.exists() or not source.is_dir():
        return
    partial = target.with_name(f".partial-{target.name}")
    try:
        # What a kill has left.
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(
            source, partial, ignore=shutil.ignore_patterns(lock.NAME)
        )
        for path in partial.rglob("*"):
            durable.sync(path)
        durable.sync(partial)
        os.rename(partial, target)
        durable.sync_folder(target.parent)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        # copytree has a list of all errors instead of a number.
        raise durable.WriteError(
            f"Cannot copy {source} to {target} ({error.strerror or error})"
        ) from error
