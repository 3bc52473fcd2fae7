"""Rules that carry a learning rate or a weight decay to another setting.

The weight decay λ is the coefficient of the penalty ½λ‖θ‖², whose gradient is
λθ, beside the mean loss over the batch. Rates and decays are numbers of at
least 0, sizes above 0; a `ValueError` says which is not.
"""

import math

from tfwd import arguments


def linear_scaling(
    learning_rate: float, batch_size: int, base_batch_size: int
) -> float:
    """Returns learning_rate * batch_size / base_batch_size.

    Args:
        learning_rate: Rate that suits `base_batch_size`.
        batch_size: Examples per step.
        base_batch_size: Examples per step of the known setting.

    References:
        Goyal et al. 2017 (https://arxiv.org/abs/1706.02677), Section 2.1;
        Rule 1 of Xie et al. 2022.
    """
    rate = arguments.check_non_negative("learning_rate", learning_rate)
    return rate * _batch_ratio(batch_size, base_batch_size)


def square_root_scaling(
    learning_rate: float, batch_size: int, base_batch_size: int
) -> float:
    """Returns learning_rate * sqrt(batch_size / base_batch_size).

    Args:
        learning_rate: Rate that suits `base_batch_size`.
        batch_size: Examples per step.
        base_batch_size: Examples per step of the known setting.

    References:
        Hoffer et al. 2017 (https://arxiv.org/abs/1705.08741), whose ranges
        Zhang et al. 2019 take for large batches.
    """
    rate = arguments.check_non_negative("learning_rate", learning_rate)
    return rate * math.sqrt(_batch_ratio(batch_size, base_batch_size))


def weight_decay_scaling(
    weight_decay: float, batch_size: int, base_batch_size: int
) -> float:
    """Returns weight_decay * batch_size / base_batch_size.

    The learning rate stays as it is: this replaces linear scaling.

    Args:
        weight_decay: λ that suits `base_batch_size`.
        batch_size: Examples per step.
        base_batch_size: Examples per step of the known setting.

    References:
        Rule 2 of Xie et al. 2022; its Fig. 3 goes from λ = 1e-4 at batch
        128 to 0.0128 at batch 16384.
    """
    decay = arguments.check_non_negative("weight_decay", weight_decay)
    return decay * _batch_ratio(batch_size, base_batch_size)


def epochs_scaling(
    weight_decay: float, epochs: float, base_epochs: float
) -> float:
    """Returns weight_decay * base_epochs / epochs: λ * epochs is kept.

    Args:
        weight_decay: λ that suits `base_epochs`.
        epochs: Length of training.
        base_epochs: Length of the known training.

    References:
        Xie et al. 2022, Fig. 2, which trains for 0.1 / λ epochs.
    """
    decay = arguments.check_non_negative("weight_decay", weight_decay)
    epochs = arguments.check_positive("epochs", epochs)
    base_epochs = arguments.check_positive("base_epochs", base_epochs)
    return decay * (base_epochs / epochs)


def normalized_weight_decay(
    normalized: float, batch_size: int, num_examples: int, epochs: float
) -> float:
    """Returns λ = normalized * sqrt(b / (B * T)).

    Args:
        normalized: λ_norm.
        batch_size: b, examples per step.
        num_examples: B, examples in the training set.
        epochs: T, length of training.

    References:
        Loshchilov & Hutter 2019, Decoupled Weight Decay Regularization
        (https://arxiv.org/abs/1711.05101), normalized weight decay. Their
        decay is not multiplied by the base learning rate: that is mode
        `independent` with a schedule.
    """
    normalized = arguments.check_non_negative("normalized", normalized)
    batch_size = arguments.check_positive("batch_size", batch_size)
    num_examples = arguments.check_positive("num_examples", num_examples)
    epochs = arguments.check_positive("epochs", epochs)
    return normalized * math.sqrt(batch_size / (num_examples * epochs))


def from_summed_loss(weight_decay: float, num_examples: int) -> float:
    """Returns weight_decay / num_examples.

    A penalty of ½ weight_decay ‖θ‖² beside the loss *summed* over
    the n examples has the minimum of ½ (weight_decay / n) ‖θ‖² beside
    the mean loss.

    Args:
        weight_decay: Coefficient beside the summed loss.
        num_examples: n.
    """
    decay = arguments.check_non_negative("weight_decay", weight_decay)
    return decay / arguments.check_positive("num_examples", num_examples)


def from_keras_l2(l2: float) -> float:
    """Returns λ = 2 * l2, since Keras' `L2(l2)` adds l2 * ‖θ‖².

    Args:
        l2: Argument of `keras.regularizers.L2`.
    """
    return 2 * arguments.check_non_negative("l2", l2)


def to_keras_l2(weight_decay: float) -> float:
    """Returns l2 = λ / 2, the inverse of `from_keras_l2`.

    Args:
        weight_decay: λ.
    """
    return arguments.check_non_negative("weight_decay", weight_decay) / 2


def decoupled_from_stable(
    weight_decay: float, momentum: float, dampening: float = 0.0
) -> float:
    """Returns λ_W = λ_S * (1 - dampening) / (1 - momentum).

    With it `SGDW(weight_decay=λ_W)` takes the steps of
    `SGDS(weight_decay=λ_S)`.

    Args:
        weight_decay: λ_S.
        momentum: In [0, 1).
        dampening: In [0, 1]; the gradient enters the buffer times
            1 - dampening.

    References:
        Xie et al. 2022, Algorithm 8 and Eq. 22 (1 - dampening is its β₃).
    """
    decay = arguments.check_non_negative("weight_decay", weight_decay)
    momentum = arguments.check_decay_rate("momentum", momentum)
    dampening = arguments.check_interval("dampening", dampening, 0, 1)
    return decay * (1 - dampening) / (1 - momentum)


def _batch_ratio(batch_size, base_batch_size):
    batch_size = arguments.check_positive("batch_size", batch_size)
    base = arguments.check_positive("base_batch_size", base_batch_size)
    return batch_size / base
