"""Private names of Keras that the diagnostics rely on; `tfwd.versions` has its
versions."""

import pathlib

import keras

from tfwd.diagnostics import keras_internals
from tfwd_tests import private_names

FOLDER = pathlib.Path(keras_internals.__file__).parent
SLOTS = keras_internals.SLOTS_OF_ADAM


def test_private_names_stand_in_one_file():
    found = {
        path.relative_to(FOLDER).as_posix(): private_names.of_file(
            path, more=SLOTS
        )
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
