"""Maps of known functions of u = log10 η and v = log10 λ."""

import numpy as np

from tfwd.tuning.maps import grid

X, Y = "learning_rate", "weight_decay"


def trials(function, u, v, seeds=1):
    """Rows with the objective function(u, v, seed)."""
    return [
        {
            X: 10.0**i,
            Y: 10.0**j,
            "seed": seed,
            "objective": float(function(i, j, seed)),
            "status": "completed",
        }
        for i in u
        for j in v
        for seed in range(seeds)
    ]


def of(function, u, v):
    """The grid of function(u, v), one seed per cell."""
    rows = trials(lambda i, j, seed: function(i, j), u, v)
    return grid.from_trials(rows, X, Y)


def noisy(function, u, v, seeds, deviation=1.0, seed=0):
    """The grid of function(u, v) plus normal noise."""
    generator = np.random.default_rng(seed)
    rows = trials(
        lambda i, j, _: function(i, j) + generator.normal(0, deviation),
        u,
        v,
        seeds,
    )
    return grid.from_trials(rows, X, Y)


def rotated(angle, short=1.0, long=0.1, u_0=0.0, v_0=0.0):
    """A bowl whose long axis stands at an angle to that of u."""
    cosine, sine = np.cos(angle), np.sin(angle)

    def function(u, v):
        along = cosine * (u - u_0) + sine * (v - v_0)
        across = cosine * (v - v_0) - sine * (u - u_0)
        return long * along**2 + short * across**2

    return function
