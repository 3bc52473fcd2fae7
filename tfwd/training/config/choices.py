"""The names that flags may hold, known without TensorFlow.

They are those of the rooms that have them, which take seconds to import.
"""

import re

DATASETS = ("digits", "mnist", "cifar10", "cifar100", "imagenet2012", "ptb")
TEXTS = ("ptb",)
MODELS = (
    "mlp",
    *("vgg11", "vgg13", "vgg16", "vgg19"),
    *("resnet20", "resnet32", "resnet44", "resnet56"),
    *("resnet18", "resnet34", "resnet50", "resnet50_imagenet"),
    *("densenet121", "googlenet", "lstm"),
)
LANGUAGE_MODELS = ("lstm",)
CONVENTIONS = ("zhang2019", "xie2022")
OPTIMIZERS = (
    *("sgd", "sgdw", "sgds", "adam", "adamw", "adams"),
    *("amsgrad", "amsgradw", "amsgrads", "adai", "adaiw", "adais"),
    *("adabound", "padam", "yogi", "radam", "kfac"),
)
DECAY_SCOPES = ("all", "normalized", "final", "none")
DIAGNOSTICS = (
    *("effective_learning_rate", "jacobian", "gauss_newton"),
    *("fisher", "damping"),
)
DEFAULT_DIAGNOSTICS = ("effective_learning_rate", "damping", "jacobian")

FUNCTION = "package.module:function"
_FUNCTION = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


def is_function(model):
    """Whether a `--model` is a function of the user's that makes one."""
    return model is not None and _FUNCTION.fullmatch(model) is not None


def task(model):
    """What a model is for: "classification" or "language_model"."""
    return "language_model" if model in LANGUAGE_MODELS else "classification"
