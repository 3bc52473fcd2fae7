"""Checkpoints as files: which there are, reading them, what they are of.

A checkpoint of step 20 is `ckpt-20.index` and `ckpt-20.data-*`, the index
written last; one that was saved again in the same step is `ckpt-20-1`. The
files are looked at themselves: TensorFlow's list of them, the file
`checkpoint`, may be torn.
"""

import dataclasses
import itertools
import json
import os
import re
import warnings

import keras
import numpy as np
import tensorflow as tf

from tfwd.training.checkpoint import progress as progress_lib

_INDEX = re.compile(r"ckpt-\d+(-\d+)?\.index")
# A layer's number counts the layers of the process, not those of the model.
_COUNTER = re.compile(r"_\d+(?=[/_]|$)")
EXTRA = "extra"
# Variables that checkpoints of earlier versions do not have.
_LATER = ("damping",)


@dataclasses.dataclass(frozen=True)
class Stored:
    """A checkpoint, read as a whole.

    Attributes:
        path: Its path without suffixes.
        progress: The `progress.Progress`.
        extra: {name: array}, as given to `checkpoint.Checkpoints.save`.
        description: As made by `describe`.
        values: For each group of variables their arrays.
        unreadable: Names of newer ones that could not be read.
    """

    path: object
    progress: progress_lib.Progress
    extra: dict[str, np.ndarray]
    description: dict
    values: dict[str, list[np.ndarray]]
    unreadable: tuple[str, ...]


class UnreadableError(Exception):
    """There are checkpoints, but none can be read; one line on the newest."""


def names(folder):
    """The names of a folder's checkpoints, oldest first, readable or not.

    Raises:
        OSError: The folder is there but cannot be listed.
    """
    try:
        files = os.listdir(folder)
    except FileNotFoundError:
        return []
    found = [
        name.removesuffix(".index") for name in files if _INDEX.fullmatch(name)
    ]
    return sorted(found, key=order)


def order(name):
    """(step,) or (step, how often it was saved again) of a name."""
    return tuple(int(number) for number in name.split("-")[1:])


def read_newest(folder):
    """Reads the newest checkpoint that can be read, every byte of it.

    Args:
        folder: A `pathlib.Path`, which need not exist.

    Returns:
        A `Stored`, or `None` if there is no checkpoint. Each newer one that is
        passed over is told in a warning.

    Raises:
        UnreadableError: There are some, but none can be read.
        OSError: The folder is there but cannot be listed.
        ValueError: It was written by a later version of tfwd.
    """
    newest_first = names(folder)[::-1]
    problems = []
    for number, name in enumerate(newest_first):
        try:
            description, progress, values = _read(folder / name)
        # Damage shows as OpError, IndexError and others.
        except Exception as error:
            problems.append(f"{folder / name} cannot be read ({reason(error)})")
            continue
        for problem in problems:
            warnings.warn(f"{problem}; falling back to {name}", stacklevel=2)
        extra = [name for name, *_ in description["groups"][EXTRA]]
        return Stored(
            folder / name,
            progress_lib.Progress.from_json(progress),
            dict(zip(extra, values.pop(EXTRA), strict=True)),
            description,
            values,
            tuple(newest_first[:number]),
        )
    if problems:
        raise UnreadableError(problems[0])
    return None


def describe(kinds, variables, extra):
    """What a checkpoint is of, ready for JSON.

    Args:
        kinds: {"optimizer": "AdamS", ...}, told apart by name.
        variables: For each group its Keras variables.
        extra: {name: tensor}.

    Returns:
        {"kinds": ..., "groups": {group: [[path, shape, dtype], ...]}}.
    """
    groups = {
        group: [
            [
                variable.path,
                list(variable.shape),
                keras.backend.standardize_dtype(variable.dtype),
            ]
            for variable in members
        ]
        for group, members in variables.items()
    }
    groups[EXTRA] = [
        [name, list(tensor.shape), tensor.dtype.name]
        for name, tensor in extra.items()
    ]
    return {"kinds": kinds, "groups": groups}


def completed(stored, here):
    """Fills up a checkpoint of an earlier version.

    Args:
        stored: A `Stored`.
        here: What `describe` says of the variables that it is for.

    Returns:
        A `Stored` with `None` as the value of each variable that the earlier
        version did not have: it keeps the value that it was made with.
    """
    groups = {
        name: list(members)
        for name, members in stored.description["groups"].items()
    }
    values = {name: list(arrays) for name, arrays in stored.values.items()}
    for name, members in here["groups"].items():
        there = groups.get(name, [])
        paths = {_comparable(each)[0] for each in there}
        for place, each in enumerate(members):
            path = _comparable(each)[0]
            if path.rpartition("/")[2] in _LATER and path not in paths:
                there.insert(place, each)
                values[name].insert(place, None)
    return dataclasses.replace(
        stored,
        description={**stored.description, "groups": groups},
        values=values,
    )


def differences(there, here):
    """Yields what differs between two descriptions, the extra ones apart.

    Variables are compared by position: shape, dtype, and path but for the
    numbers in it.
    """
    for kind in there["kinds"] | here["kinds"]:
        one, other = (each["kinds"].get(kind) for each in (there, here))
        if one != other:
            yield f"{kind} is {one} there and {other} here"
    for group in there["groups"] | here["groups"]:
        if group == EXTRA:
            continue
        one, other = (each["groups"].get(group, []) for each in (there, here))
        if len(one) != len(other):
            yield (
                f"{group} has {len(one)} variables there and {len(other)} here"
            )
        for pair in itertools.zip_longest(one, other):
            if None in pair or _comparable(pair[0]) != _comparable(pair[1]):
                texts = [_text(each) for each in pair]
                yield f"{group} has {texts[0]} there and {texts[1]} here"


def reason(error):
    """The first line of an error, without TensorFlow's names of operations."""
    text = getattr(error, "strerror", None) or str(error).partition("\n")[0]
    text = re.sub(r"^\{\{.*?\}\} | \[Op:\w+\]$", "", text)
    return text or type(error).__name__


def _read(path):
    """The description, the progress as JSON, and all arrays, checked.

    TensorFlow checks the checksum of each tensor, but not that of the index,
    so names, shapes and dtypes are compared with the description.
    """
    # TensorFlow takes a file that it may not open for one that is not there.
    for file in path.parent.glob(f"{path.name}.*"):
        with file.open("rb"):
            pass
    reader = tf.train.load_checkpoint(str(path))
    tensors = {
        name: reader.get_tensor(name)
        for name in reader.get_variable_to_dtype_map()
    }

    def text(name):
        return tensors[f"{name}/.ATTRIBUTES/py_state"].decode()

    description = json.loads(text("description"))
    values = {group: [] for group in description["groups"]}
    for group, members in description["groups"].items():
        for number, (name, shape, dtype) in enumerate(members):
            key = f"values/{group}/{number}/.ATTRIBUTES/VARIABLE_VALUE"
            value = np.asarray(tensors[key])
            if (list(value.shape), value.dtype.name) != (shape, dtype):
                raise ValueError(f"{name} has another shape or dtype")
            values[group].append(value)
    return description, text("progress"), values


def _comparable(described):
    path, *rest = described
    return _COUNTER.sub("", path), *rest


def _text(described):
    if described is None:
        return "nothing"
    path, shape, dtype = described
    return f"{path} {dtype}{shape}"
