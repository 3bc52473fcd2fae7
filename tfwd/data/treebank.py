"""The Penn Treebank, or another text in such files."""

import os
import pathlib

from tfwd.data import text
from tfwd.data import words

FILES = {
    "train": "ptb.train.txt",
    "validation": "ptb.valid.txt",
    "test": "ptb.test.txt",
}


def load(
    data_dir: str | os.PathLike | None,
    bptt: int = 35,
    train_fraction: float = 1.0,
) -> text.Text:
    """Reads `ptb.{train,valid,test}.txt` in `data_dir`/ptb or `data_dir`.

    How their words become numbers is said in `words.encoded`; the vocabulary
    is that of the whole training text, whatever `train_fraction`.

    Args:
        data_dir: The folder with the files.
        bptt: Steps per segment.
        train_fraction: The training text is cut after this part of it.

    Raises:
        ValueError: A file is missing, cannot be read, is empty or not UTF-8,
            a word is not in the vocabulary, or an argument is out of its
            range.
    """
    if bptt < 1:
        raise ValueError(f"`bptt` must be at least 1. Received: bptt={bptt}")
    if not 0 < train_fraction <= 1:
        raise ValueError(
            "`train_fraction` must be in (0, 1]. "
            f"Received: train_fraction={train_fraction}"
        )
    paths = _paths(data_dir)
    tokens, vocabulary = words.encoded(paths)
    # One prediction needs two tokens.
    kept = max(2, round(train_fraction * len(tokens["train"])))
    tokens["train"] = tokens["train"][:kept]
    return text.Text("ptb", **tokens, vocabulary=vocabulary, bptt=bptt)


def _paths(data_dir):
    names = ", ".join(FILES.values())
    if data_dir is None:
        raise ValueError(
            f"`data_dir` must hold {names}. Received: data_dir=None"
        )
    root = pathlib.Path(data_dir).expanduser()
    folders = (root / "ptb", root)
    for folder in folders:
        paths = {split: folder / name for split, name in FILES.items()}
        if all(path.is_file() for path in paths.values()):
            return paths
    raise ValueError(
        f"`data_dir` must hold {names}; searched "
        f"{' and '.join(map(str, folders))}. "
        f"Received: data_dir={os.fspath(data_dir)}"
    )
