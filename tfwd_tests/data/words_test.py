"""Files of words are read and numbered, or it is said why not.

That is of `words` and `treebank`.
"""

import numpy as np
import pytest

from tfwd.data import treebank

TRAIN = " a b b \n c b <unk> a \n"
# Ordered by (-count, word): 3 b, 2 <eos>, 2 a, 1 <unk>, 1 c.
VOCABULARY = ("b", "<eos>", "a", "<unk>", "c")


def write(folder, train=TRAIN, valid="a b\n", test="b c\n"):
    folder.mkdir(parents=True, exist_ok=True)
    for name, words in (("train", train), ("valid", valid), ("test", test)):
        content = words if isinstance(words, bytes) else words.encode()
        (folder / f"ptb.{name}.txt").write_bytes(content)


@pytest.mark.parametrize("folder", [".", "ptb"])
def test_files_are_read_and_words_numbered_by_frequency(tmp_path, folder):
    write(tmp_path / folder)
    source = treebank.load(tmp_path, bptt=2)
    assert source.name == "ptb"
    assert source.bptt == 2
    assert source.vocabulary == VOCABULARY
    assert source.num_classes == 5
    assert source.split_names == ("train", "validation", "test")
    words = [source.vocabulary[token] for token in source.train]
    assert words == "a b b <eos> c b <unk> a <eos>".split()
    for split, tokens in (("validation", [2, 0, 1]), ("test", [0, 4, 1])):
        np.testing.assert_array_equal(source.tokens(split), tokens)
        assert source.tokens(split).dtype == np.int32
        assert source.size(split) == 2


def test_only_newlines_end_lines_and_an_empty_line_ends_too(tmp_path):
    write(tmp_path, train="a\x0bb\r\n\nc\u2028d e", valid="a\n", test="a")
    source = treebank.load(tmp_path)
    words = [source.vocabulary[token] for token in source.train]
    assert words == "a b <eos> <eos> c d e <eos>".split()
    np.testing.assert_array_equal(source.validation, source.test)


def test_unknown_words_are_unk(tmp_path):
    write(tmp_path, valid="zebra b\n")
    tokens = treebank.load(tmp_path).validation
    assert [VOCABULARY[token] for token in tokens] == ["<unk>", "b", "<eos>"]


def test_a_fraction_is_the_beginning_and_keeps_the_vocabulary(tmp_path):
    write(tmp_path)
    whole = treebank.load(tmp_path)
    for fraction, kept in ((0.5, 4), (1e-9, 2), (1.0, 9)):
        part = treebank.load(tmp_path, train_fraction=fraction)
        np.testing.assert_array_equal(part.train, whole.train[:kept])
        np.testing.assert_array_equal(part.test, whole.test)
        assert part.vocabulary == whole.vocabulary


def test_a_word_without_a_number_is_named_with_its_file_and_line(tmp_path):
    write(tmp_path, train="a b\n", test="a\nb\nb zebra\n")
    with pytest.raises(ValueError, match="'zebra' in .*test.txt, line 3$"):
        treebank.load(tmp_path)


def test_missing_files_are_listed(tmp_path):
    write(tmp_path)
    (tmp_path / "ptb.valid.txt").unlink()
    with pytest.raises(ValueError, match="ptb.valid.txt.*searched") as error:
        treebank.load(tmp_path)
    assert str(tmp_path / "ptb") in str(error.value)
    with pytest.raises(ValueError, match="data_dir=None$"):
        treebank.load(None)


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"", "not empty"),
        (b" \n\n", "not empty"),
        (b"a b\n\xff\n", "UTF-8.*byte 0xff at 4"),
        ("a b\n".encode("utf-16"), "UTF-8.*byte 0xff at 0"),
        (b"\0" * 99, "no zero bytes.*byte 0x00 at 0"),
        ("é b\n".encode() + b"\0" * 9, "no zero bytes.*byte 0x00 at 5"),
    ],
)
def test_a_file_without_text_is_named(tmp_path, content, reason):
    write(tmp_path, valid=content)
    with pytest.raises(ValueError, match=f"{reason}.*ptb.valid.txt$"):
        treebank.load(tmp_path)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    write(tmp_path)
    path = tmp_path / "ptb.valid.txt"
    path.unlink()
    # Reading it fails, even for root.
    path.symlink_to("/proc/self/mem")
    with pytest.raises(ValueError, match="be read. Received: .*valid.txt \\("):
        treebank.load(tmp_path)


@pytest.mark.parametrize(
    "setting, value",
    [("bptt", 0), ("train_fraction", 0.0), ("train_fraction", 1.5)],
)
def test_a_setting_out_of_its_range_is_refused(tmp_path, setting, value):
    write(tmp_path)
    with pytest.raises(ValueError, match=f"`{setting}` .*={value}$"):
        treebank.load(tmp_path, **{setting: value})
