"""A .keras file that a flag names: its model, or one line on why there is none.

Keras reads it in safe mode: no code that a file holds is run.
"""

import contextlib
import pathlib
import warnings
import zipfile

import keras

from tfwd.training.config import reasons
from tfwd.training.config import rules


@contextlib.contextmanager
def warnings_later():
    """Holds warnings back: a file that is refused has one line and no more."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for each in caught:
        warnings.warn(each.message, each.category, stacklevel=3)


def existing(flag, text):
    """Returns the `pathlib.Path` of a file.

    Args:
        flag: Name of the flag that holds it.
        text: Its value.

    Raises:
        UsageError: There is no such file.
    """
    rule = "must be an existing .keras file"
    try:
        path = pathlib.Path(text).expanduser()
        if path.is_file():
            return path
    except (OSError, RuntimeError) as error:
        rules.refuse(flag, f"{rule} ({reasons.of(error)})", text)
    rules.refuse(flag, rule, path)


def model_of(flag, path, with_optimizer=False):
    """Returns the functional or sequential model that a file holds.

    Args:
        flag: Name of the flag that holds the file.
        path: What `existing` returned.
        with_optimizer: Whether it is compiled as it was when it was saved.

    Raises:
        UsageError: The file is damaged, or holds none.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            # Of weights whose checksum is wrong Keras reads what is there.
            damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"{damaged} is damaged")
        model = keras.saving.load_model(
            path, compile=with_optimizer, safe_mode=True
        )
    # The file says what Keras builds: whatever fails there, the file is wrong.
    except Exception as error:
        rule = f"must be a saved Keras model ({reasons.of(error)})"
        rules.refuse(flag, rule, path)
    is_built = isinstance(model, keras.Model) and model.built
    if not is_built or not getattr(model, "inputs", None):
        rules.refuse(
            flag,
            "must hold a functional or sequential model that was built before "
            f"it was saved; this is a {type(model).__name__}",
            path,
        )
    return model
