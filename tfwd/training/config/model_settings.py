"""The settings of the model."""

import dataclasses

from tfwd.training.config import choices
from tfwd.training.config import fields


@dataclasses.dataclass(frozen=True)
class Model:
    """The model, what its weights begin with and its precision."""

    model: str = fields.setting(
        "mlp",
        "model, or a function of a module of one's own, which makes one of "
        "input_shape and num_classes",
        choices=choices.MODELS,
        form=(choices.FUNCTION, choices.is_function),
        group="Model",
    )
    width: float = fields.setting(
        1.0,
        "multiplies channels and hidden units, which are at least one",
        above=0,
    )
    batch_norm: bool = fields.setting(
        True, "batch normalization, in the form of the convention"
    )
    convention: str | None = fields.setting(
        None,
        "whose initialization, normalization, padding and biases; default: "
        "those of the paper that trains the model",
        choices=choices.CONVENTIONS,
    )
    sync_batch_norm: bool = fields.setting(
        False, "normalize over the batches of all replicas together"
    )
    hidden_layers: int | None = fields.setting(
        None,
        "hidden layers of mlp (default 2) and lstm (2)",
        at_least=0,
        at_most=1000,
    )
    hidden_units: int | None = fields.setting(
        None, "units of a layer of mlp (default 128) and lstm (512)", at_least=1
    )
    dropout: float | None = fields.setting(
        None,
        "fraction dropped by googlenet (default 0.4) and lstm (0.5)",
        at_least=0,
        below=1,
    )
    init_from: str | None = fields.setting(
        None,
        "a .keras file: layers of the same name and shapes begin with its "
        "weights, where no checkpoint is gone on from",
    )
    dtype_policy: str = fields.setting(
        "float32",
        "precision of the layers; the variables are float32 in all",
        choices=("float32", "mixed_bfloat16", "mixed_float16"),
    )
    jit_compile: bool = fields.setting(
        False, "compile the training step by XLA (one replica)"
    )
