"""How a data set gets into TensorFlow Datasets' form: a command for a shell.

That library takes archives that lie in `<data_dir>/downloads/manual`, under
their published names, from there without a network, checks their published
checksums, and downloads what it does not find. The same is

    tfds build NAME --manual_dir=FOLDER --data_dir=DATA_DIR

but that program (4.9.10) imports Apache Beam and mlcroissant, which the library
does not ask for.
"""

import json
import os
import shlex

_ARCHIVES = {
    "mnist": "{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz",
    "cifar10": "cifar-10-binary.tar.gz",
    "cifar100": "cifar-100-binary.tar.gz",
    "imagenet2012": "ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar",
}
# One has to ask its owners for them.
_NOT_PUBLIC = ("imagenet2012",)


def explained(name: str, data_dir: str | os.PathLike | None) -> str:
    """Returns, for an error, the command that makes a data set, and of what.

    Args:
        name: The data set.
        data_dir: The folder that is to hold `<name>/<version>`.
    """
    folder = "DATA_DIR" if data_dir is None else os.fspath(data_dir)
    program = (
        "import tensorflow_datasets as tfds; "
        f"tfds.load({json.dumps(name)}, data_dir={json.dumps(folder)})"
    )
    archives = os.path.join(folder, "downloads", "manual")
    text = (
        f"`python -c {shlex.quote(program)}` makes it of {_ARCHIVES[name]} in "
        f"{archives}"
    )
    return text if name in _NOT_PUBLIC else f"{text}, or downloads it"
