"""What a search may choose in place of λ, and the λ that it means.

With η the learning rate, s the scale of the optimizer's decay and N the steps
in an epoch:

| coordinate     | what is chosen                   | λ        |
|----------------|----------------------------------|----------|
| `weight_decay` | λ                                | λ        |
| `rate`         | r = ηλ                           | r/η      |
| `timescale`    | T = 1/(ηsλN), in epochs          | 1/(ηsTN) |

Where only ηλ counts, the good region is a diagonal in the plane of η and λ and
an axis-parallel band in that of η and r. T is the time after which the decay
alone leaves 1/e of a weight, and the span that the weights average over
(`averaging_time` of `optimizer.weight_decay_report()`, there in steps); it
stays the same when batches or epochs change.

References:
    Loshchilov & Hutter 2019 (https://arxiv.org/abs/1711.05101), Figure 2: the
    plane of η and λ. Wang & Aitchison 2024 (https://arxiv.org/abs/2405.13698):
    the time scale in epochs, of AdamW.
"""

from tfwd import kfac
from tfwd.optimizers import adai
from tfwd.optimizers import sgd

COORDINATES = ("weight_decay", "rate", "timescale")

_KNOWN_SCALE = (sgd.SGD, adai.Adai, kfac.KFAC)


def has_timescale(cls, mode):
    """Returns whether the decay has one time scale, known before training.

    It has in modes decoupled (s = 1), independent (whose rate is λ itself, as
    if ηs were 1) and, of SGD, Adai and K-FAC, in mode stable. The s of the
    others there is a power of the mean second moment, which nobody knows
    before the training and which changes in it; an l2 decay passes through
    the optimizer's statistics; an elementwise one has a rate for each element.

    Args:
        cls: An optimizer class of this library.
        mode: One of its modes of weight decay.
    """
    if mode == "stable":
        return issubclass(cls, _KNOWN_SCALE)
    return mode in ("decoupled", "independent")


def rate_of_unit_decay(optimizer, learning_rate):
    """Returns the share that a step takes off θ for λ = 1: ηs.

    Args:
        optimizer: One for which `has_timescale` holds.
        learning_rate: η.
    """
    if optimizer.weight_decay_mode == "independent":
        return 1.0
    if optimizer.weight_decay_mode == "decoupled":
        return learning_rate
    # The optimizers of _KNOWN_SCALE do not look at the second moment.
    return learning_rate * optimizer.stable_scale(None)


def from_rate(rate, learning_rate):
    """Returns λ = r/η.

    Args:
        rate: r = ηλ, at least 0.
        learning_rate: η, above 0.
    """
    return rate / learning_rate


def from_timescale(timescale, unit_rate, steps_per_epoch):
    """Returns λ = 1/(ηs · T · N).

    Args:
        timescale: T in epochs, above 0.
        unit_rate: ηs, see `rate_of_unit_decay`.
        steps_per_epoch: N.
    """
    return 1 / (unit_rate * timescale * steps_per_epoch)
