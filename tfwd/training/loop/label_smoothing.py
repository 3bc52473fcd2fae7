"""Label smoothing of Szegedy et al. (2016), section 7.

With a smoothing α and K classes, the target of a prediction is 1 − α + α/K for
its class and α/K for each other one, so that its loss is

    (1 − α) CE(y) + α/K Σₖ CE(k),    CE(k) = log Σⱼ exp(zⱼ) − zₖ,

and no target of K numbers is ever made.
"""

import tensorflow as tf


def smoothed(losses, logits, smoothing):
    """Returns the smoothed losses.

    Args:
        losses: CE(y), float32 [..., ].
        logits: z, float32 [..., K].
        smoothing: α, in [0, 1).
    """
    if not smoothing:
        return losses
    others = -tf.reduce_mean(tf.nn.log_softmax(logits), axis=-1)
    return (1 - smoothing) * losses + smoothing * others
