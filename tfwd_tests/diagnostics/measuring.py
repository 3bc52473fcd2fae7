"""A small classifier, data, and what is measured of it, in one program."""

import keras
import numpy as np
from keras import layers

from tfwd.diagnostics import estimates
from tfwd.diagnostics import fisher
from tfwd.diagnostics import gauss_newton
from tfwd.diagnostics import jacobian
from tfwd.diagnostics import kronecker_factors
from tfwd.diagnostics import outputs
from tfwd.diagnostics import streaming
from tfwd_tests.kfac import models


def network(activation=None):
    """Returns a network with everything that training mode would change."""
    model = models.built(
        [
            layers.Conv2D(2, 2, padding="same"),
            layers.BatchNormalization(),
            layers.Activation("tanh"),
            layers.Dropout(0.5),
            layers.Flatten(),
            layers.Dense(3, activation=activation),
        ],
        (2, 2, 2),
    )
    norm = model.layers[1]
    norm.moving_mean.assign([0.1, -0.2])
    norm.moving_variance.assign([0.5, 2.0])
    return model


def data(count):
    """Returns inputs and labels."""
    return models.normal(count, 2, 2, 2), models.targets_of(
        "softmax", (count, 3)
    )


def everything(model, batches, loss):
    """Returns {name: an array}, of one program."""
    likelihood = outputs.likelihood_of(model, loss)
    factors = kronecker_factors.KroneckerFactors(
        model, likelihood, estimation="sampled"
    )

    def statistics(inputs, labels, weights, first_example):
        examples = streaming.examples(inputs, first_example)
        norms = {
            "jacobian": jacobian.squared_norms(
                model, inputs, likelihood, projections=2, examples=examples
            ),
            "gauss_newton_norm": gauss_newton.squared_norms(
                model, inputs, likelihood
            ),
            "fisher_norm": fisher.squared_norms(model, inputs, likelihood),
            "label_norm": fisher.label_norms(model, inputs, labels, likelihood),
        }
        sums = {
            (name,): estimates.sums(values, weights)
            for name, values in norms.items()
        }
        return sums | factors.statistics(inputs, labels, weights, first_example)

    sums = streaming.Sums(statistics, model).over(batches)
    found = {
        name: np.array(estimates.of_sums(*values))
        for (name, *more), values in sums.items()
        if not more
    }
    for place, layer in enumerate(factors.layers(sums)):
        found[f"A{place}"] = layer.input_factor
        found[f"G{place}"] = layer.gradient_factor
    return found


def state(model):
    """Returns the values of all variables."""
    return [keras.ops.convert_to_numpy(v) for v in model.variables]
