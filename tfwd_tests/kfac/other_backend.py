"""The trainings that TensorFlow and JAX must agree on, as a program.

`python -m tfwd_tests.kfac.other_backend PATH` writes weights and factors.
"""

import sys

import numpy as np

from tfwd_tests.kfac import training

# Name: (model, data, arguments of the optimizer).
CASES = {
    "exact": (training.mlp, training.examples, {"estimation": "exact"}),
    "sampled": (training.mlp, training.examples, {"damping_mode": "eigen"}),
    "convolution": (
        training.convolutional,
        training.images,
        {"estimation": "exact", "curvature": "gauss_newton"},
    ),
}


def results():
    """Returns {case/number: array} after thirty steps of every case."""
    arrays = {}
    for name, (make, data, arguments) in CASES.items():
        model = training.compiled(make(), **arguments)
        training.fit(model, data(), epochs=5)
        found = [*model.get_weights()]
        for factors in model.optimizer.factors().values():
            found += factors
        arrays |= {f"{name}/{i}": array for i, array in enumerate(found)}
    return arrays


if __name__ == "__main__":
    np.savez(sys.argv[1], **results())
