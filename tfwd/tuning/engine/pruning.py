"""Which runs are stopped early, by their own course and that of others.

Pure functions of objectives by epoch, of which lower is better; those that are
maximized come as their negatives.

References:
    Golovin et al., Google Vizier: A Service for Black-Box Optimization,
    KDD 2017, https://doi.org/10.1145/3097983.3098043, section 3.2.2.
    Li et al., A System for Massively Parallel Hyperparameter Tuning,
    MLSys 2020, https://arxiv.org/abs/1810.05934, algorithm 2.
"""

import math
import statistics


def median(history, others, warmup=1, least=3):
    """The median rule: half of the runs were better by now.

    A run stops if its best objective so far is worse than the median of what
    the others had reached as their best by the same epoch. Vizier takes the
    running average of the others there; their best, as in Optuna, does not
    count the first epochs, which differ most between learning rates.

    Args:
        history: The objectives after epoch 1, 2, ... of the run that goes on;
            NaN or infinity is worse than any number.
        others: A dict of the histories of others by (trial, seed), or by
            anything else. Those shorter than `history` do not count.
        warmup: Number of epochs within which no run is stopped.
        least: How many others must have come as far.

    Returns:
        The reason to stop, in one line, or None.
    """
    epoch = len(history)
    bests = _bests(others, epoch)
    if epoch <= warmup or len(bests) < least:
        return None
    own, middle = _best(history), statistics.median(bests)
    if own <= middle:
        return None
    return (
        f"best {abs(own):g} after epoch {epoch} is worse than "
        f"{abs(middle):g}, the median of {len(bests)} others there"
    )


def halving(history, others, factor=3):
    """Asynchronous successive halving: the best of each rung go on.

    After epoch 1, factor, factor**2, ... a run goes on if its best objective is
    among the best 1/factor of all that have come to that rung, itself among
    them; of fewer than `factor` all go on. It is decided once, when the run is
    there: none is stopped for what others do later.

    Args:
        history: As for `median`.
        others: As for `median`, with the histories of those stopped there.
        factor: One in how many goes on, at least 2.

    Returns:
        The reason to stop, in one line, or None.
    """
    epoch = len(history)
    if not _is_rung(epoch, factor):
        return None
    bests = _bests(others, epoch)
    count = len(bests) + 1
    own = _best(history)
    # Equals go on, since nothing speaks for one of them.
    rank = 1 + sum(best < own for best in bests)
    kept = count // factor
    if count < factor or rank <= kept:
        return None
    return (
        f"best {abs(own):g} after epoch {epoch} is number {rank} of {count}, "
        f"of which {kept} go on"
    )


def _is_rung(epoch, factor):
    while epoch > 1 and epoch % factor == 0:
        epoch //= factor
    return epoch == 1


def _bests(others, epoch):
    return [
        _best(history[:epoch])
        for history in others.values()
        if len(history) >= epoch
    ]


def _best(history):
    return min(
        (value for value in history if not math.isnan(value)), default=math.inf
    )
