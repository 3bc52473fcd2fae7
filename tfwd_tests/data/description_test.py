"""What a folder says about itself is data, and nothing that it names runs.

Covers `catalog`.
"""

import copy
import json
import sys

import pytest

from tfwd import data
from tfwd.data import description
from tfwd.data import imagenet
from tfwd_tests.data import folders

INFO, FEATURES = "dataset_info.json", "features.json"
DEEP = "[" * 10**5 + "]" * 10**5


def check_refused(folder, file, *words):
    """Asserts one line that names the file and says what is wrong in it."""
    name = folder.parent.name
    with pytest.raises(ValueError) as error:
        data.load(name, folder.parents[1])
    text = str(error.value)
    assert "\n" not in text and len(text) < 1500
    assert f"`data_dir` must hold {name} undamaged; move {folder} away" in text
    assert f'tfds.load("{name}", ' in text
    _, _, received = text.partition(f" Received: {folder / file}: ")
    for word in words:
        assert word in received


@pytest.mark.parametrize("name", ["mnist", "imagenet2012"])
@pytest.mark.parametrize("file", [INFO, FEATURES])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is not JSON"),
        (b"# Notes", "is not JSON"),
        (b'{"splits": [', "is not JSON"),
        (b"\0" * 400, "is not JSON"),
        (b"\xff\xfe{}", "byte 0 is 0xff, which is not UTF-8"),
        (b'{"name": "\x80"}', "byte 10 is 0x80, which is not UTF-8"),
        (DEEP.encode(), "nested too deeply"),
        (b'{"featuresDict": %s}' % DEEP.encode(), "nested too deeply"),
        (b"[]", "it is [], not a JSON object"),
        (b"7", "it is 7, not a JSON object"),
        (b"null", "it is None, not a JSON object"),
        (b"1" * 5000, "is not JSON"),
        (b'{"cells": []}', "it "),
        (b"{}", "it "),
    ],
)
def test_a_file_that_describes_nothing_is_named(
    tmp_path, name, file, content, words
):
    folder = folders.write(tmp_path, name)
    (folder / file).write_bytes(content)
    check_refused(folder, file, words)


def set_at(content, path, value):
    """Sets what is at a path of keys; ... removes it."""
    *path, last = path
    for key in path:
        content = content[key]
    if value is ...:
        del content[last]
    else:
        content[last] = value


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (["name"], "cifar10", "it describes 'cifar10', not mnist"),
        (["name"], ["mnist"], "it describes ['mnist'], not mnist"),
        (["splits"], ..., "its `splits` is None, not a list"),
        (["splits"], {"train": 1}, "its `splits` is an object, not a list"),
        (["splits", 0], "train", "its `splits` is 'train', not a JSON object"),
        (["splits", 0, "name"], ..., "the name of a split is None"),
        (["splits", 0, "name"], 5, "the name of a split is 5"),
        (["splits", 0, "name"], "x" * 10**6, "the name of a split is 'xxx"),
        (["splits", 0, "shardLengths"], ..., "split train is None, not a list"),
        (["splits", 0, "shardLengths"], [], "split train are ()"),
        (["splits", 0, "shardLengths"], [0, 0], "split train are (0, 0)"),
        (["splits", 0, "shardLengths"], [4, -1], "split train are (4, -1)"),
        (["splits", 0, "shardLengths"], ["x"], "is 'x', not an integer"),
        (["splits", 0, "shardLengths"], [3.5], "is 3.5, not an integer"),
        (["splits", 0, "shardLengths"], [True], "is True, not an integer"),
        (["splits", 0, "shardLengths"], ["9" * 99], "not an integer"),
        (["splits", 0, "filepathTemplate"], "../{SPLIT}", "names no file of"),
        (["splits", 0, "filepathTemplate"], "/etc/passwd", "names no file of"),
        (["splits", 0, "filepathTemplate"], "{HOME}", "names no file of"),
        (["splits", 0, "filepathTemplate"], "a\0b", "names no file of"),
        (["splits", 0, "filepathTemplate"], "a\ud800", "names no file of"),
        (["splits", 0, "filepathTemplate"], 7, "is 7, not a string"),
    ],
)
def test_a_description_of_other_files_is_refused(tmp_path, path, value, words):
    folder = folders.write(tmp_path)
    info = json.loads((folder / INFO).read_text())
    set_at(info, path, value)
    (folder / INFO).write_text(json.dumps(info))
    check_refused(folder, INFO, words)


IMAGE = ["featuresDict", "features", "image"]
LABEL = ["featuresDict", "features", "label"]


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (["featuresDict"], ..., "content of it is None, not a JSON object"),
        (["featuresDict", "features"], 5, "`features` is 5, not a JSON object"),
        (IMAGE, ..., "its `image` is None, not a JSON object"),
        (LABEL, ..., "its `label` is None, not a JSON object"),
        ([*IMAGE, "image"], ..., "content of its `image` is None"),
        ([*IMAGE, "image", "shape"], ..., "shape of its `image` is None"),
        ([*IMAGE, "image", "shape", "dimensions"], 28, "`image` is 28"),
        (
            [*IMAGE, "image", "shape", "dimensions"],
            ["28", "28", "3"],
            "is (28, 28, 3), not (height, width, 1)",
        ),
        (
            [*IMAGE, "image", "shape", "dimensions"],
            ["28", "28"],
            "is (28, 28), not (height, width, 1)",
        ),
        (
            [*IMAGE, "image", "shape", "dimensions"],
            ["9" * 20, "28", "1"],
            f"is {'9' * 20}, not 1 to 65535",
        ),
        ([*IMAGE[:2], "x" * 10**6], 5, "its `xxx"),
        ([*IMAGE, "image", "dtype"], "float32", "is of 'float32', not uint8"),
        ([*LABEL, "classLabel", "numClasses"], ..., "is None, not an integer"),
        ([*LABEL, "classLabel", "numClasses"], "0", "has 0 classes, not 1 to"),
        ([*LABEL, "classLabel", "numClasses"], -5, "has -5 classes, not 1 to"),
        (
            [*LABEL, "classLabel", "numClasses"],
            2**62,
            f"has {2**62} classes, not 1 to",
        ),
        (
            [*LABEL, "pythonClassName"],
            f"{folders.MODULE}.text_feature.Text",
            "is a tensorflow_datasets.core.features.text_feature.Text, not a "
            "ClassLabel",
        ),
    ],
)
def test_a_description_of_other_features_is_refused(
    tmp_path, path, value, words
):
    folder = folders.write(tmp_path)
    content = folders.features("mnist")
    set_at(content, path, value)
    (folder / FEATURES).write_text(json.dumps(content))
    check_refused(folder, FEATURES, words)


@pytest.fixture
def trap(tmp_path, monkeypatch):
    """A module that can be imported and says so; returns whether it was."""
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "trap_of_a_feature.py").write_text("class Feature: pass\n")
    monkeypatch.syspath_prepend(modules)
    yield lambda: "trap_of_a_feature" in sys.modules
    sys.modules.pop("trap_of_a_feature", None)


TRAP = "trap_of_a_feature.Feature"


@pytest.mark.parametrize("name", ["mnist", "imagenet2012"])
@pytest.mark.parametrize("class_name", [TRAP, "os.system", "posix.system", ""])
@pytest.mark.parametrize("path", [[], IMAGE, LABEL, [*IMAGE[:2], "id"]])
def test_no_class_that_a_folder_names_is_imported(
    tmp_path, trap, name, class_name, path
):
    folder = folders.write(tmp_path, name)
    content = folders.features(name)
    set_at(content, [*IMAGE[:2], "id"], {})
    set_at(content, [*path, "pythonClassName"], class_name)
    (folder / FEATURES).write_text(json.dumps(content))
    check_refused(folder, FEATURES, "not one of the features of TensorFlow")
    assert not trap()


def test_what_is_nested_or_names_a_module_is_not_imported(tmp_path, trap):
    """What is not read may say what it likes."""
    folder = folders.write(tmp_path)
    info = json.loads((folder / INFO).read_text())
    info["moduleName"] = "trap_of_a_feature"
    (folder / INFO).write_text(json.dumps(info))
    content = folders.features("mnist")
    nested = {"type": TRAP, "content": {}, "proto_cls": TRAP}
    sequence = {
        "pythonClassName": f"{folders.MODULE}.sequence_feature.Sequence",
        "sequence": {"feature": {"pythonClassName": TRAP}},
        "jsonFeature": {"json": json.dumps({"feature": nested})},
    }
    set_at(content, [*IMAGE[:2], "more"], sequence)
    (folder / FEATURES).write_text(json.dumps(content))
    assert len(data.load("mnist", tmp_path).train) == 6
    assert not trap()
    legacy = {"type": TRAP, "content": nested, "proto_cls": TRAP}
    (folder / FEATURES).write_text(json.dumps(legacy))
    check_refused(folder, FEATURES, "not one of the features of TensorFlow")
    assert not trap()


def first_form():
    """A features.json of 2020."""
    return {
        "type": f"{folders.MODULE}.features_dict.FeaturesDict",
        "content": {
            "image": {
                "type": f"{folders.MODULE}.image_feature.Image",
                "content": {
                    "shape": [None, None, 3],
                    "dtype": "uint8",
                    "encoding_format": "jpeg",
                },
            },
            "label": {
                "type": f"{folders.MODULE}.class_label_feature.ClassLabel",
                "content": {"num_classes": 1000},
            },
        },
    }


def second_form(as_string):
    """One of 2022: protocol buffers as JSON, for a while in strings."""
    content = copy.deepcopy(folders.features("imagenet2012"))
    parts = content["featuresDict"]["features"]
    if as_string:
        whole = json.dumps({"features": parts})
    else:
        whole = {"features": parts}
    return {
        "type": f"{folders.MODULE}.features_dict.FeaturesDict",
        "content": whole,
        "proto_cls": "tensorflow_datasets.FeaturesDict",
    }


@pytest.mark.parametrize(
    "content",
    [first_form(), second_form(False), second_form(True)],
    ids=["2020", "2022", "string"],
)
def test_descriptions_of_older_versions_are_read(tmp_path, content):
    expected = description.Features((None, None, 3), 1000)
    assert description.features(content, 3) == expected
    folder = folders.write(tmp_path, "imagenet2012")
    (folder / FEATURES).write_text(json.dumps(content))
    assert imagenet.load(tmp_path).num_classes == 1000
