"""What a folder in TensorFlow Datasets' form says about itself.

Two JSON files: `dataset_info.json` names the splits and the lengths of their
files, `features.json` what is in an example. They are read as data only. That
library would import the Python classes that `features.json` names.

Every error is a ValueError that goes on after the name of the file.
"""

import dataclasses
import json
import typing

DEFAULT_TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
FILE_FORMAT = "tfrecord"
# The only place of the classes of features; none of them is imported.
KNOWN_CLASSES = "tensorflow_datasets.core.features."
MOST_CLASSES = 2**20
# Of a side of an image; that of a JPEG, the largest of its header.
LARGEST_SIDE = 2**16 - 1


@dataclasses.dataclass(frozen=True)
class Split:
    """The files of a split.

    Args:
        files: Their names, in the order of their examples.
        lengths: How many examples each holds.
    """

    files: tuple[str, ...]
    lengths: tuple[int, ...]

    @property
    def num_examples(self) -> int:
        """The number of examples of the split."""
        return sum(self.lengths)


@dataclasses.dataclass(frozen=True)
class Features:
    """What is in an example: an encoded `image` and its `label`.

    Args:
        image_shape: (height, width, channels); None for what differs.
        num_classes: Labels are in `[0, num_classes)`.
    """

    image_shape: tuple[int | None, ...]
    num_classes: int


def parsed(raw: bytes) -> dict:
    """Returns the object that a JSON file holds.

    Raises:
        ValueError: It holds anything else.
    """
    try:
        content = json.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise ValueError(
            f"byte {error.start} is 0x{byte:02x}, which is not UTF-8"
        ) from error
    except RecursionError as error:
        raise ValueError("its JSON is nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"it is not JSON ({error})") from error
    return _object(content, "it")


def file_format(info: dict) -> str:
    """Returns the format of the files, which older folders do not tell."""
    return str(info.get("fileFormat") or FILE_FORMAT)[:60]


def splits(info: dict, name: str) -> dict[str, Split]:
    """Returns the splits that a `dataset_info.json` names.

    Args:
        info: What the file holds.
        name: The data set that it must describe.

    Raises:
        ValueError: It does not describe files of that data set.
    """
    if info.get("name") != name:
        raise ValueError(f"it describes {_shown(info.get('name'))}, not {name}")
    found = {}
    for each in _list(info.get("splits"), "its `splits`"):
        split = _object(each, "one of its `splits`")
        found[split.get("name")] = _split(split, name)
    return found


def features(content: dict, channels: int) -> Features:
    """Returns what a `features.json` says about images and labels.

    It has the form of `tfds.features.FeaturesDict`, today's or that of the
    first versions. Features besides `image` and `label` are not read.

    Args:
        content: What the file holds.
        channels: Those that the images must have.

    Raises:
        ValueError: It describes anything else.
    """
    whole = _content(content, "it", "FeaturesDict", "featuresDict")
    parts = _object(whole.get("features", whole), "its `features`")
    for key, feature in parts.items():
        what = f"its `{key[:60]}`"
        _class_of(_object(feature, what), what)
    image = _content(parts.get("image"), "its `image`", "Image", "image")
    label = _content(
        parts.get("label"), "its `label`", "ClassLabel", "classLabel"
    )
    if image.get("dtype", "uint8") != "uint8":
        dtype = _shown(image["dtype"])
        raise ValueError(f"its `image` is of {dtype}, not uint8")
    shape = image.get("shape")
    if isinstance(shape, dict):
        shape = shape.get("dimensions")
    shape = tuple(
        _size(size) for size in _list(shape, "the shape of its `image`")
    )
    if len(shape) != 3 or shape[2] != channels:
        raise ValueError(
            f"the shape of its `image` is {_shown(shape)}, not (height, "
            f"width, {channels})"
        )
    num_classes = label.get("numClasses", label.get("num_classes"))
    num_classes = integer(num_classes, "the number of classes of its `label`")
    if not 1 <= num_classes <= MOST_CLASSES:
        raise ValueError(
            f"its `label` has {num_classes} classes, not 1 to {MOST_CLASSES}"
        )
    return Features(shape, num_classes)


def integer(value: object, what: str) -> int:
    """Returns an integer, which JSON may hold as a string.

    Args:
        value: What the JSON holds.
        what: What errors call it.

    Raises:
        ValueError: It is none.
    """
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    # Of an int64; the longest has 19 digits and a sign.
    if isinstance(value, str) and len(value) <= 20:
        is_integer = value.removeprefix("-").isdecimal()
    if not is_integer:
        raise ValueError(f"{what} is {_shown(value)}, not an integer")
    return int(typing.cast(int | str, value))


def _split(split, dataset):
    name = split.get("name")
    if not isinstance(name, str) or not 1 <= len(name) <= 60:
        raise ValueError(f"the name of a split is {_shown(name)}")
    what = f"the shard lengths of its split {name}"
    lengths = tuple(
        integer(length, "a shard length of its split " + name)
        for length in _list(split.get("shardLengths"), what)
    )
    if min(lengths, default=0) < 0 or not sum(lengths):
        raise ValueError(f"{what} are {_shown(lengths)}, not above 0")
    template = split.get("filepathTemplate") or DEFAULT_TEMPLATE
    files = tuple(
        _file(template, dataset, name, number, len(lengths))
        for number in range(len(lengths))
    )
    return Split(files, lengths)


def _file(template, dataset, split, number, count):
    if not isinstance(template, str):
        raise ValueError(
            f"a filepathTemplate is {_shown(template)}, not a string"
        )
    file = template
    for variable, value in (
        ("SHARD_X_OF_Y", f"{number:05d}-of-{count:05d}"),
        ("SHARD_INDEX", f"{number:05d}"),
        ("NUM_SHARDS", f"{count:05d}"),
        ("DATASET", dataset),
        ("SPLIT", split),
        ("FILEFORMAT", FILE_FORMAT),
    ):
        file = file.replace(f"{{{variable}}}", value)
    parts = file.split("/")
    is_inside = parts[0] and ".." not in parts
    if "{" in file or not file.isprintable() or not is_inside:
        raise ValueError(
            f"a filepathTemplate is {_shown(template)}, which names no file "
            "of this folder"
        )
    return file


def _content(feature, what, kind, field):
    """What describes a feature, in one of the three forms that there were."""
    feature = _object(feature, what)
    found = _class_of(feature, what)
    if found.rpartition(".")[2] != kind:
        raise ValueError(f"{what} is a {found[:99]}, not a {kind}")
    content = feature.get(field, feature.get("content"))
    if isinstance(content, str):
        content = parsed(content.encode())
    return _object(content, f"the content of {what}")


def _class_of(feature, what):
    name = feature.get("pythonClassName", feature.get("type"))
    if not isinstance(name, str) or not name.startswith(KNOWN_CLASSES):
        raise ValueError(
            f"{what} is a {_shown(name)}, not one of the features of "
            "TensorFlow Datasets"
        )
    return name


def _size(value):
    size = -1 if value is None else integer(value, "a size of its `image`")
    if size < 0:
        return None
    if not 1 <= size <= LARGEST_SIDE:
        raise ValueError(
            f"a size of its `image` is {size}, not 1 to {LARGEST_SIDE}"
        )
    return size


def _object(value, what):
    if not isinstance(value, dict):
        raise ValueError(f"{what} is {_shown(value)}, not a JSON object")
    return value


def _list(value, what):
    if not isinstance(value, list):
        raise ValueError(f"{what} is {_shown(value)}, not a list")
    return value


def _shown(value):
    """The beginning of a value, whatever it is and how long."""
    shown = "an object" if isinstance(value, dict) else repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
