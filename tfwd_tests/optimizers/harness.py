"""Runs an optimizer on given gradients, compiled as its backend compiles."""

import contextlib
import warnings

import keras
import numpy as np

BACKEND = keras.backend.backend()
SHAPES = ((7, 5), (5,), (30, 4))


def make_variables(arrays, dtype="float32"):
    names = ("layer/kernel", "layer/bias", "embedding/embeddings")
    return [
        keras.Variable(array, dtype=dtype, name=name.rsplit("/")[-1])
        for array, name in zip(arrays, names, strict=False)
    ]


def random_problem(steps=50, seed=0, shapes=SHAPES):
    """Returns parameters and gradients of very different sizes."""
    generator = np.random.default_rng(seed)
    theta = [generator.normal(size=shape) for shape in shapes]
    sizes = 10.0 ** generator.uniform(-2, 0, size=len(shapes))
    gradients = [
        [
            size * generator.normal(size=shape)
            for size, shape in zip(sizes, shapes, strict=True)
        ]
        for _ in range(steps)
    ]
    return theta, gradients


def apply_all(optimizer, variables, gradients, compiled=True, xla=False):
    """Applies each step's gradients; a None gradient stays None.

    `compiled` is a `tf.function` on TensorFlow, by XLA if `xla`, and `jit` on
    JAX; torch is always eager.
    """
    dtype = keras.backend.standardize_dtype(variables[0].dtype)
    optimizer.build(variables)
    appliers = {}
    for step_gradients in gradients:
        present = tuple(g is not None for g in step_gradients)
        if present not in appliers:
            appliers[present] = _applier(
                optimizer, variables, present, compiled, xla
            )
        dense = [
            keras.ops.convert_to_tensor(g, dtype=dtype)
            for g in step_gradients
            if g is not None
        ]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Gradients do not exist")
            appliers[present](dense)
    return [keras.ops.convert_to_numpy(v) for v in variables]


def _applier(optimizer, variables, present, compiled, xla):
    def spread(dense):
        remaining = iter(dense)
        return [next(remaining) if here else None for here in present]

    def apply(dense):
        optimizer.apply(spread(dense), variables)

    if BACKEND == "tensorflow" and compiled:
        import tensorflow as tf

        return tf.function(apply, jit_compile=xla)
    if BACKEND == "jax" and compiled:
        import jax

        @jax.jit
        def stateless(state, values, dense):
            return optimizer.stateless_apply(state, spread(dense), values)

        def apply(dense):
            values, state = stateless(
                [v.value for v in optimizer.variables],
                [v.value for v in variables],
                dense,
            )
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
            for variable, value in zip(optimizer.variables, state, strict=True):
                variable.assign(value)

    return apply


@contextlib.contextmanager
def float64():
    """Keras' own scalars, the learning rate among them, in float64."""
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    with contextlib.ExitStack() as stack:
        if BACKEND == "jax":
            import jax

            stack.enter_context(jax.enable_x64(True))
        try:
            yield
        finally:
            keras.config.set_floatx(before)


def relative_error(actual, expected):
    """Returns ‖Δ‖₂/‖θ‖₂ over all parameters together."""
    difference = sum(
        np.sum((np.asarray(a, "float64") - e) ** 2)
        for a, e in zip(actual, expected, strict=True)
    )
    norm = sum(np.sum(np.asarray(e, "float64") ** 2) for e in expected)
    return np.sqrt(difference / norm)
