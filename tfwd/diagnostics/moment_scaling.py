"""Moments of a gradient that follow the weights when those are rescaled.

A loss that does not see the scale of θ, L(cθ) = L(θ), has the gradient
∇L(cθ) = ∇L(θ)/c. So the moments of a run that had always been at cθ are

```
m ← m/c          v ← v/c²
```

From (cθ, m/c) with learning rate c²η SGD takes steps that are c times those
from (θ, m) with η, as does Adai if all layers are rescaled by the same c; Adam
with ε = 0 does so from (cθ, m/c, v/c²) with learning rate cη. That is without
decay of θ, and for ever. With the learning rate left as it is, the effective
one, η/‖θ‖², has changed by 1/c², and nothing else.

A buffer that holds η·g is divided by c too, because η stays; a caller who
changes the learning rate to c²η has to multiply it by c² as well.
"""

import keras

from tfwd.diagnostics import keras_internals
from tfwd.diagnostics.backend import copies
from tfwd.kfac import optimizer as kfac
from tfwd.optimizers import adai
from tfwd.optimizers import moments
from tfwd.optimizers import sgd
from tfwd.optimizers import wrappers

# By which power of 1/c each slot is multiplied.
_SLOTS = (
    (sgd.SGD, {"momentums": 1}),
    (kfac.KFAC, {"momentums": 1}),
    (adai.Adai, {"momentums": 1, "velocities": 2}),
    (
        moments.MomentsOptimizer,
        {"momentums": 1, "velocities": 2, "maximal_velocities": 2},
    ),
    (
        keras.optimizers.SGD,
        dict(zip(keras_internals.SLOTS_OF_SGD, (1,), strict=True)),
    ),
    (
        keras.optimizers.Adam,
        dict(zip(keras_internals.SLOTS_OF_ADAM, (1, 2, 2), strict=True)),
    ),
)


def check(optimizer):
    """Checks that the slots of an optimizer are known.

    Raises:
        ValueError: If they are not.
    """
    _powers(wrappers.unwrapped(optimizer))


def scale(optimizer, factors):
    """Divides moments by c, second moments by c², on every replica.

    The factors of K-FAC stay as they are: m is the mean of gradients
    preconditioned with those, and it is of the new weights until the factors
    are next updated. So do gradients that are being accumulated, and Keras'
    moving averages of weights (`use_ema`).

    Args:
        optimizer: `tfwd`'s, or Keras' SGD, Adam or AdamW, also inside a
            `LossScaleOptimizer`; one that is not built has no moments yet.
        factors: Pairs of a trainable variable and its c.

    Raises:
        ValueError: If the slots of the optimizer are not known.
    """
    optimizer = wrappers.unwrapped(optimizer)
    powers = _powers(optimizer)
    if not optimizer.built:
        return
    variables = keras_internals.variables_of(optimizer)
    places = {id(v): i for i, v in enumerate(variables)}
    for variable, c in factors:
        for name, power in powers.items():
            # Absent without momentum or without a maximum.
            slots = getattr(optimizer, name, None)
            if slots:
                copies.multiply(slots[places[id(variable)]], c**-power)


def _powers(optimizer):
    for kind, powers in _SLOTS:
        if isinstance(optimizer, kind):
            return powers
    raise ValueError(
        '`moments="scale"` needs an optimizer of tfwd, or SGD, Adam or AdamW '
        f"of Keras. Received: {type(optimizer).__name__}"
    )
