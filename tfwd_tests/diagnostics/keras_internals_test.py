"""Private names of Keras that the diagnostics rely on, and their version."""

import ast
import pathlib

import keras

from tfwd.diagnostics import keras_internals

FOLDER = pathlib.Path(keras_internals.__file__).parent
SLOTS = keras_internals.SLOTS_OF_ADAM


def private_names(path):
    """Returns what a file reads of Keras' inside, and of others' attributes.

    An attribute with an underscore of anything but `self` and `cls`, and a
    string that is one of the names of slots.
    """
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.ImportFrom(module=str(name)) if "keras.src" in name:
                found.add(name)
            case ast.Import(names=names):
                found |= {n.name for n in names if "keras.src" in n.name}
            case ast.Attribute(value=ast.Name(id="keras"), attr="src"):
                found.add("keras.src")
            case ast.Attribute(value=ast.Name(id="self" | "cls")):
                pass
            case ast.Attribute(attr=name) if name.startswith(
                "_"
            ) and not name.startswith("__"):
                found.add(name)
            case ast.Constant(value=str(name)) if name in SLOTS:
                found.add(name)
    return found


def test_keras_is_of_the_version_that_was_checked():
    assert keras.__version__.startswith("3.15.")
    assert "3.15" in keras_internals.__doc__


def test_private_names_stand_in_one_file():
    found = {
        path.relative_to(FOLDER).as_posix(): private_names(path)
        for path in FOLDER.rglob("*.py")
    }
    holding = {name for name, names in found.items() if names}
    assert holding == {"keras_internals.py"}


def test_slots_and_variables_are_where_they_were():
    variable = keras.Variable([1.0, 2.0])
    adam = keras.optimizers.Adam(amsgrad=True)
    sgd = keras.optimizers.SGD(momentum=0.9)
    pairs = ((adam, SLOTS), (sgd, keras_internals.SLOTS_OF_SGD))
    for optimizer, names in pairs:
        optimizer.build([variable])
        assert keras_internals.variables_of(optimizer) == [variable]
        for name in names:
            (slot,) = getattr(optimizer, name)
            assert slot.shape == variable.shape
