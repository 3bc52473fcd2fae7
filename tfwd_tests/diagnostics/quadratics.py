"""The quadratic loss ½(θ − θ*)ᵀH(θ − θ*), and optimizers on it."""

import keras
import numpy as np
from keras import ops

BACKEND = keras.backend.backend()
EIGENVALUES = np.array([0.4, 0.5, 0.6, 0.8, 1.0])


def basis():
    """Returns the eigenvectors of H as columns, far from the axes."""
    generator = np.random.default_rng(0)
    return np.linalg.qr(generator.normal(size=(5, 5)))[0]


def quadratic():
    """Returns H, θ* and θ₀."""
    generator = np.random.default_rng(100)
    vectors = basis()
    hessian = vectors @ np.diag(EIGENVALUES) @ vectors.T
    return hessian, generator.normal(size=5), generator.normal(size=5)


def theta(start):
    return keras.Variable(start, dtype="float64", name="theta")


def trajectory(optimizer, variable, hessian, optimum, steps):
    """Returns θ₀, θ₁, ... of full-gradient descent, [steps + 1, n]."""
    optimizer.build([variable])
    hessian, optimum = (
        ops.convert_to_tensor(array, "float64") for array in (hessian, optimum)
    )

    def gradient(value):
        return ops.matmul(hessian, value - optimum)

    points = [np.array(ops.convert_to_numpy(variable))]
    if BACKEND == "jax":
        points.extend(_scanned(optimizer, variable, gradient, steps))
        return np.stack(points)
    step = _step(optimizer, variable, gradient)
    for _ in range(steps):
        step()
        points.append(np.array(ops.convert_to_numpy(variable)))
    return np.stack(points)


def _step(optimizer, variable, gradient):
    def step():
        value = ops.convert_to_tensor(variable)
        optimizer.apply([gradient(value)], [variable])

    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.function(step)
    return step


def _scanned(optimizer, variable, gradient, steps):
    """Returns θ₁, θ₂, ...; the final state is the optimizer's."""
    import jax

    def step(carry, _):
        state, value = carry
        (value,), state = optimizer.stateless_apply(
            state, [gradient(value)], [value]
        )
        return (state, value), value

    start = [v.value for v in optimizer.variables], variable.value
    (state, value), points = jax.lax.scan(step, start, length=steps)
    variable.assign(value)
    for kept, new in zip(optimizer.variables, state, strict=True):
        kept.assign(new)
    return np.asarray(points)
