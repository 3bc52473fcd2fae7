"""Files of words as token numbers, with the vocabulary of the training text.

A file is UTF-8. The words of a line stand between blanks, and every line ends
with one more, `<eos>`.
"""

import collections
import pathlib
from collections.abc import Mapping

import numpy as np

END, UNKNOWN = "<eos>", "<unk>"


def encoded(
    paths: Mapping[str, pathlib.Path],
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Reads the splits of a text.

    The vocabulary are the words of "train", ordered by (-count, word). A word
    of another split that is not among them becomes `<unk>`, if that is.

    Args:
        paths: The file of each split, one of them "train".

    Returns:
        The token numbers of each split, int32 `[tokens]`, and the vocabulary
        in the order of the numbers.

    Raises:
        ValueError: A file cannot be read, is empty or not UTF-8, or holds a
            word that the vocabulary has no number for.
    """
    lines = {split: _lines(path) for split, path in paths.items()}
    counts = collections.Counter(
        word for line in lines["train"] for word in line
    )
    vocabulary = sorted(counts, key=lambda word: (-counts[word], word))
    numbers = {word: number for number, word in enumerate(vocabulary)}
    tokens = {
        split: _tokens(lines[split], numbers, path)
        for split, path in paths.items()
    }
    return tokens, tuple(vocabulary)


def _lines(path):
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise ValueError(
            "`data_dir` must hold files that can be read. "
            f"Received: {path} ({error.strerror})"
        ) from error
    except UnicodeDecodeError as error:
        raise ValueError(
            "`data_dir` must hold texts in UTF-8. Received: byte "
            f"0x{error.object[error.start]:02x} at {error.start} in {path}"
        ) from error
    if "\0" in text:
        # What a file system leaves of a file that it was to write.
        place = text.encode().index(0)
        raise ValueError(
            "`data_dir` must hold texts, which have no zero bytes. "
            f"Received: byte 0x00 at {place} in {path}"
        )
    if not text.strip():
        raise ValueError(
            f"`data_dir` must hold texts that are not empty. Received: {path}"
        )
    # Not `splitlines`, for which more than a newline ends a line.
    lines = text.removesuffix("\n").split("\n")
    return [[*line.split(), END] for line in lines]


def _tokens(lines, numbers, path):
    unknown = numbers.get(UNKNOWN)
    tokens = []
    for line_number, line in enumerate(lines, start=1):
        for word in line:
            token = numbers.get(word, unknown)
            if token is None:
                raise ValueError(
                    "`data_dir` must hold texts of one vocabulary: a word "
                    "must occur in the training text, unless that has "
                    f"{UNKNOWN}. Received: {word!r} in {path}, line "
                    f"{line_number}"
                )
            tokens.append(token)
    return np.array(tokens, np.int32)
