"""Losses that differentiate the network, or call it, as TensorFlow can.

In `fit` the step is right; in a loop of one's own, where it holds
`preconditioned_backward`, right or refused in one line.
"""

import keras
import pytest
import tensorflow as tf

from tfwd_tests.kfac import penalties
from tfwd_tests.kfac import training
from tfwd_tests.optimizers import replicas


def slope(model, x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = model(x)[:, 0]
    return tape.gradient(value, x)


def first_order(model, x):
    return tf.reduce_sum(model(x) ** 2)


def gradient(model, x):
    return tf.reduce_sum(slope(model, x) ** 2)


def stopped_gradient(model, x):
    return tf.reduce_sum(tf.stop_gradient(slope(model, x))[:, :1] * model(x))


def value_beside_its_slope(model, x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = model(x)[:, :1]
    weights = tf.stop_gradient(tape.gradient(value, x))
    return tf.reduce_sum(weights[:, :1] * value)


def second_gradient(model, x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = slope(model, x)
    return tf.reduce_sum(tape.gradient(value, x) ** 2)


def of_a_linear_model(model, x):
    """The gradient behind the layer is a constant, the one before is not."""
    layer = model.layers[1]
    h = tf.ones((penalties.BATCH, layer.kernel.shape[0]))
    with tf.GradientTape() as tape:
        tape.watch(h)
        value = layer(h)[:, 0]
    return tf.reduce_sum(tape.gradient(value, h) ** 2)


def stopped_gradient_of_a_weight(model, x):
    """A weight of the loss as `GradNorm` has it."""
    kernel = model.layers[1].kernel.value
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(model(x) ** 2)
    norm = tf.norm(tape.gradient(value, kernel))
    return tf.stop_gradient(norm) * tf.reduce_sum(model(x))


def forward_mode(model, x):
    with tf.autodiff.ForwardAccumulator(x, tf.ones_like(x)) as accumulator:
        value = model(x)
    return tf.reduce_sum(accumulator.jvp(value) ** 2)


def forward_mode_of_a_weight(model, x):
    kernel = model.layers[0].kernel.value
    with tf.autodiff.ForwardAccumulator(
        kernel, tf.ones_like(kernel)
    ) as accumulator:
        value = model(x)
    return tf.reduce_sum(accumulator.jvp(value) ** 2)


def stopped_forward_mode(model, x):
    with tf.autodiff.ForwardAccumulator(x, tf.ones_like(x)) as accumulator:
        value = model(x)
    return tf.reduce_sum(tf.stop_gradient(accumulator.jvp(value)) * model(x))


def jacobian_of(model, x, method="jacobian", **arguments):
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        value = model(x)
    return getattr(tape, method)(value, x, **arguments)


def jacobian(model, x):
    return tf.reduce_sum(jacobian_of(model, x) ** 2)


def jacobian_in_a_loop(model, x):
    found = jacobian_of(model, x, experimental_use_pfor=False)
    return tf.reduce_sum(found**2)


def batch_jacobian(model, x):
    return tf.reduce_sum(jacobian_of(model, x, "batch_jacobian") ** 2)


def stopped_batch_jacobian(model, x):
    found = tf.stop_gradient(jacobian_of(model, x, "batch_jacobian"))
    return tf.reduce_sum(found[:, :1, 0] * model(x))


def vectorized(model, x):
    return tf.reduce_sum(
        tf.vectorized_map(lambda row: model(row[None])[0], x) ** 2
    )


def vectorized_without_a_loop(model, x):
    rows = tf.vectorized_map(
        lambda row: model(row[None])[0], x, fallback_to_while_loop=False
    )
    return tf.reduce_sum(rows**2)


def vectorized_gradient(model, x):
    rows = tf.vectorized_map(lambda row: slope(model, row[None])[0], x)
    return tf.reduce_sum(rows**2)


def recomputed(model, x):
    return tf.reduce_sum(tf.recompute_grad(lambda x: model(x))(x) ** 2)


def mapped(model, x):
    return tf.reduce_sum(tf.map_fn(lambda row: model(row[None])[0], x) ** 2)


def in_a_branch(model, x):
    return tf.cond(
        tf.reduce_sum(x) < 1e9, lambda: first_order(model, x), lambda: 0.0
    )


def in_a_function(model, x):
    return tf.function(first_order, autograph=False)(model, x)


def gradient_in_a_function(model, x):
    return tf.function(gradient, autograph=False)(model, x)


# Whether a loop of one's own is refused.
CASES = {
    first_order: False,
    stopped_gradient: False,
    gradient: True,
    of_a_linear_model: True,
    forward_mode: True,
    batch_jacobian: True,
    vectorized: True,
    recomputed: False,
    in_a_function: True,
    value_beside_its_slope: False,
    stopped_batch_jacobian: False,
    second_gradient: True,
    forward_mode_of_a_weight: True,
    stopped_forward_mode: True,
    jacobian: True,
    jacobian_in_a_loop: True,
    vectorized_without_a_loop: True,
    vectorized_gradient: True,
    mapped: True,
    in_a_branch: True,
    gradient_in_a_function: True,
}


@pytest.fixture(scope="module")
def made():
    """A model and its K-FAC, whose factors no loss changes."""
    model, optimizer = penalties.attached()
    return model, optimizer, model.get_weights()


@pytest.fixture
def pair(made):
    """The same, with the first weights."""
    model, optimizer, weights = made
    model.set_weights(weights)
    return model, optimizer


@pytest.mark.parametrize(
    "penalty",
    [*CASES, stopped_gradient_of_a_weight],
    ids=lambda penalty: penalty.__name__,
)
def test_fit_is_right(penalty, pair):
    loss = penalties.Penalized(pair[0], penalty)
    expected = penalties.change_of_sgd(pair[0], loss)
    # Where XLA compiles is another test's.
    actual = penalties.change_in_fit(*pair, loss, jit_compile=False)
    assert training.error(actual, expected) <= penalties.TOLERANCE
    falls_back = penalty not in (first_order, recomputed)
    assert pair[1].attachment.differentiates_twice == falls_back


@pytest.mark.parametrize("penalty", CASES, ids=lambda each: each.__name__)
def test_a_loop_of_ones_own_is_right_or_refused_in_one_line(penalty, pair):
    loss = penalties.Penalized(pair[0], penalty)
    if CASES[penalty]:
        with pytest.raises(ValueError, match="^`preconditioned_back") as error:
            penalties.change_in_loop(*pair, loss)
        assert "\n" not in str(error.value)
        return
    expected = penalties.change_of_sgd(pair[0], loss)
    actual = penalties.change_in_loop(*pair, loss)
    assert training.error(actual, expected) <= penalties.TOLERANCE


def test_two_losses_on_a_persistent_tape_are_summed(pair):
    model, optimizer = pair
    x, y = (tf.constant(each) for each in penalties.batch())

    def gradients_of_two():
        with tf.GradientTape(persistent=True) as tape:
            output = model(x)
            losses = tf.reduce_mean((output - y) ** 2), tf.reduce_sum(output)
        kernels = [v.value for v in model.trainable_variables]
        pairs = zip(
            *(tape.gradient(loss, kernels) for loss in losses), strict=True
        )
        return [one + other for one, other in pairs]

    @tf.function(autograph=False)
    def step():
        with optimizer.preconditioned_backward():
            optimizer.apply(gradients_of_two(), model.trainable_variables)

    expected = [-penalties.LEARNING_RATE * g for g in gradients_of_two()]
    before = model.get_weights()
    step()
    actual = penalties.difference(model, before)
    assert training.error(actual, expected) <= penalties.TOLERANCE


def test_gradients_of_a_function_that_is_compiled_by_itself_are_refused(pair):
    """A second call would not trace it, and take U for V."""
    model, optimizer = pair
    loss = penalties.Penalized(model, first_order)
    x, y = penalties.batch()
    compiled = tf.function(penalties.gradients, autograph=False)
    with (
        pytest.raises(ValueError, match="all in one compiled function"),
        optimizer.preconditioned_backward(),
    ):
        compiled(model, loss, x, y)
    with (
        pytest.raises(ValueError, match="all in one compiled function"),
        optimizer.preconditioned_backward(),
    ):
        gradients = [tf.zeros_like(v) for v in model.trainable_variables]
        optimizer.apply(gradients, model.trainable_variables)


@tf.function(autograph=False)
def traced_before(model, x):
    return first_order(model, x)


def test_a_function_that_was_traced_before_is_seen(pair):
    """Its gradients would be V, beside U of the other calls."""
    loss = penalties.Penalized(pair[0], traced_before)
    expected = penalties.change_of_sgd(pair[0], loss)
    with pytest.raises(ValueError, match="all in one compiled function"):
        penalties.change_in_loop(*pair, loss)
    actual = penalties.change_in_fit(*pair, loss, jit_compile=False)
    assert training.error(actual, expected) <= penalties.TOLERANCE


class Adding(keras.Model):
    """A perceptron that adds the penalty of its own slope."""

    def __init__(self):
        super().__init__()
        self.inner = training.mlp(penalties.WIDTHS)

    def build(self, shape):
        self.built = True

    def call(self, x):
        self.add_loss(gradient(self.inner, x))
        return self.inner(x)


def test_fit_with_a_penalty_by_add_loss_is_right():
    model = Adding()
    model.build((None, training.INPUTS))
    inner, _ = pair = penalties.attached(model)
    loss = penalties.Penalized(inner.inner, gradient)
    expected = penalties.change_of_sgd(inner.inner, loss)
    actual = penalties.change_in_fit(*pair, keras.losses.MeanSquaredError())
    assert training.error(actual, expected) <= penalties.TOLERANCE


def test_fit_on_two_replicas_is_right():
    model = training.mlp(penalties.WIDTHS)
    expected = penalties.change_of_sgd(
        model, penalties.Penalized(model, gradient)
    )
    with replicas.strategy().scope():
        mirrored, optimizer = penalties.attached()
    loss = penalties.Penalized(mirrored, gradient)
    actual = penalties.change_in_fit(mirrored, optimizer, loss)
    assert training.error(actual, expected) <= penalties.TOLERANCE
    assert optimizer.attachment.differentiates_twice


def test_a_refusal_leaves_no_setting_of_a_loop_behind(pair):
    """`tf.map_fn` sets a device, and takes it back when its body returns."""
    loss = penalties.Penalized(pair[0], mapped)
    with pytest.raises(ValueError, match="all in one compiled function"):
        penalties.change_in_loop(*pair, loss)
    assert tf.compat.v1.get_variable_scope().caching_device is None


def test_fit_compiled_by_xla_is_right(pair):
    for penalty in (first_order, gradient):
        loss = penalties.Penalized(pair[0], penalty)
        expected = penalties.change_of_sgd(pair[0], loss)
        actual = penalties.change_in_fit(*pair, loss, jit_compile=True)
        assert training.error(actual, expected) <= penalties.TOLERANCE
