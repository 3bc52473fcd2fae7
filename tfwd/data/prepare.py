"""Writes MNIST or CIFAR in TensorFlow Datasets' form, from files at hand.

    python -m tfwd.data.prepare --dataset=cifar10 \
        --source=cifar-10-python.tar.gz --data_dir=DATA_DIR

No network is touched, except with `--download` in place of `--source`.
"""

import sys

from absl import flags

from tfwd import quiet
from tfwd.data import sources


def main(arguments: list[str]) -> int:
    """Runs the binary.

    Args:
        arguments: The command line without the program's name.

    Returns:
        Exit code: 0, or 2 after one line on stderr for bad input.
    """
    try:
        values = _parsed(arguments)
        if values.help:
            print(values.get_help())
            return 0
    except ValueError as error:
        return _refuse(error)
    quiet.import_tensorflow()
    # They need TensorFlow, which flags and --help do not wait for.
    import tensorflow_datasets as tfds

    from tfwd.data import preparation

    try:
        if values.download:
            folder = preparation.download(values.dataset, values.data_dir)
        else:
            folder = preparation.prepare(
                values.dataset, values.source, values.data_dir
            )
    except (ValueError, OSError, tfds.download.DownloadError) as error:
        return _refuse(error)
    print(f"wrote {folder}")
    return 0


def _refuse(error):
    print(" ".join(str(error).split()), file=sys.stderr)
    return 2


def _parsed(arguments):
    values = flags.FlagValues()
    flags.DEFINE_enum(
        "dataset", None, list(sources.MD5), "the data set", flag_values=values
    )
    flags.DEFINE_string(
        "source", None, "folder or .tar.gz with its files", flag_values=values
    )
    flags.DEFINE_string(
        "data_dir", None, "where <dataset>/<version> goes", flag_values=values
    )
    flags.DEFINE_bool(
        "download", False, "download it instead", flag_values=values
    )
    flags.DEFINE_bool("help", False, "print the flags", flag_values=values)
    try:
        rest = values(["prepare", *arguments])[1:]
    except flags.Error as error:
        raise ValueError(str(error)) from None
    if rest:
        raise ValueError(
            "Every argument must be a flag, --name=value. "
            f"Received: {' '.join(rest)}"
        )
    if values.help:
        return values
    for flag in ("dataset", "data_dir"):
        if not values[flag].value:
            raise ValueError(f"`{flag}` must be given. Received: {flag}=None")
    if values.download == bool(values.source):
        raise ValueError(
            "`source` must be given, or `download` in its place. Received: "
            f"source={values.source}, download={values.download}"
        )
    return values


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
