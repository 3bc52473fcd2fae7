"""The papers' models as plain functions, on every Keras backend."""

import collections.abc
import dataclasses

import keras

from tfwd import arguments
from tfwd.models import conventions
from tfwd.models import densenet
from tfwd.models import googlenet
from tfwd.models import layers
from tfwd.models import lstm
from tfwd.models import mlp
from tfwd.models import resnet
from tfwd.models import shapes
from tfwd.models import vgg

__all__ = ["NAMES", "build", "task"]


def __dir__():
    return sorted(__all__)


@dataclasses.dataclass(frozen=True)
class _Family:
    """Models of one form.

    Attributes:
        build: Makes a model.
        names: Of the models.
        convention: Of the paper that they are from.
        smallest: Least height and width of an image; None if it need not be
            an image.
        flattens: Whether the sizes of the input are part of a kernel.
        least_layers: Least `hidden_layers`; None if they are not a choice.
        has_dropout: Whether `dropout` is a choice.
        task: What the model is for.
    """

    build: collections.abc.Callable
    names: collections.abc.Iterable[str]
    convention: str
    smallest: int | None = None
    flattens: bool = False
    least_layers: int | None = None
    has_dropout: bool = False
    task: str = "classification"


_FAMILIES = (
    _Family(mlp.build, ["mlp"], "zhang2019", flattens=True, least_layers=0),
    # Its five poolings halve the image five times.
    _Family(
        vgg.build, vgg.CONVOLUTIONS, "zhang2019", smallest=32, flattens=True
    ),
    _Family(resnet.build, resnet.THREE_STAGES, "zhang2019", smallest=1),
    _Family(resnet.build, resnet.FOUR_STAGES, "xie2022", smallest=1),
    _Family(densenet.build, densenet.BLOCKS, "xie2022", smallest=8),
    _Family(
        googlenet.build,
        ["googlenet"],
        "xie2022",
        smallest=1,
        has_dropout=True,
    ),
    _Family(
        lstm.build,
        ["lstm"],
        "xie2022",
        least_layers=1,
        has_dropout=True,
        task="language_model",
    ),
)
_FAMILY = {name: family for family in _FAMILIES for name in family.names}
NAMES = tuple(_FAMILY)


def task(name: str) -> str:
    """Returns what a model is for: "classification" or "language_model".

    Raises:
        ValueError: A name that is not in `NAMES`.
    """
    arguments.check_choice("name", name, NAMES)
    return _FAMILY[name].task


def build(
    name: str,
    input_shape: tuple[int | None, ...],
    num_classes: int,
    *,
    width: float = 1.0,
    batch_norm: bool = True,
    convention: str | None = None,
    sync_batch_norm: bool = False,
    hidden_layers: int | None = None,
    hidden_units: int | None = None,
    dropout: float | None = None,
) -> keras.Model:
    """Builds a functional model that maps images, or texts, to logits.

    Args:
        name: One of `NAMES`.
        input_shape: Shape of one image, channels last, or (time,) of a text;
            None for a time, or a height and width, that is free, which `mlp`
            and the VGGs cannot have.
        num_classes: Number of logits, the tokens of the vocabulary for a text.
        width: Multiplies channels, hidden units and growth rates, rounded, at
            least 1. The ResNet32 of Zhang et al. 2019 has `width` 4.
        batch_norm: False leaves out normalization, and gives each convolution
            a bias. The LSTM has none in any case.
        convention: A name of `conventions.CONVENTIONS`; None is that of the
            paper the model is from.
        sync_batch_norm: Whether batch statistics are those of all replicas
            together, which Keras can on TensorFlow.
        hidden_layers: Of `mlp`, where 0 is linear classification, and `lstm`;
            None is 2. The other models have theirs fixed.
        hidden_units: Of each hidden layer of `mlp` and `lstm` at `width` 1;
            None is 128 and 512.
        dropout: The rate of `googlenet` and `lstm`; None is 0.4 and 0.5.

    Raises:
        ValueError: A name that is not known, a size that is not positive, an
            input that the model cannot take, or a dropout that it has not.
    """
    arguments.check_choice("name", name, NAMES)
    family = _FAMILY[name]
    if convention is None:
        convention = family.convention
    arguments.check_choice("convention", convention, conventions.CONVENTIONS)
    width = arguments.check_interval(
        "width", width, 0, shapes.LARGEST_SIZE, open_low=True
    )
    batch_norm = arguments.check_boolean("batch_norm", batch_norm)
    sync_batch_norm = arguments.check_boolean(
        "sync_batch_norm", sync_batch_norm
    )
    num_classes = shapes.check_size("num_classes", num_classes)
    input_shape = shapes.check_shape(input_shape)
    if family.task == "language_model":
        shapes.check_text(name, input_shape)
    elif family.smallest is None:
        shapes.check_fixed(name, input_shape)
    else:
        shapes.check_image(name, input_shape, family.smallest, family.flattens)
    options: dict[str, float] = {}
    if family.least_layers is not None:
        for argument, value, low in (
            ("hidden_layers", hidden_layers, family.least_layers),
            ("hidden_units", hidden_units, 1),
        ):
            if value is not None:
                options[argument] = shapes.check_size(argument, value, low)
    if dropout is not None:
        if not family.has_dropout:
            raise ValueError(
                f"`dropout` must be None for {name}, which has no dropout. "
                f"Received: dropout={arguments.shown(dropout)}"
            )
        options["dropout"] = arguments.check_interval(
            "dropout", dropout, 0, 1, open_high=True
        )
    makers = layers.Layers(
        conventions.CONVENTIONS[convention], width, batch_norm, sync_batch_norm
    )
    return family.build(name, input_shape, num_classes, makers, **options)
