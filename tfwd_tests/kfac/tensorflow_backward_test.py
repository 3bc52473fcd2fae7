"""`preconditioned_backward` in a loop of one's own, by TensorFlow's tape.

Covers `tensorflow_backend`.
"""

import pytest
import tensorflow as tf

from tfwd.kfac import backward
from tfwd_tests.kfac import training

BATCH = 8


def train(model, context):
    attached, loss = model.optimizer, training.cross_entropy()

    @tf.function
    def step(x, y):
        with context(attached):
            with tf.GradientTape() as tape:
                value = loss(y, model(x, training=True))
            variables = model.trainable_variables
            gradients = tape.gradient(value, [v.value for v in variables])
            attached.apply(gradients, variables)

    x, y = training.examples(30 * BATCH)
    for batch in range(30):
        part = slice(batch * BATCH, (batch + 1) * BATCH)
        work = attached.schedule.before(batch)
        if work.factors:
            attached.update_factors(x[part])
        attached.update_inverses(work.inverses)
        step(tf.constant(x[part]), tf.constant(y[part]))


@pytest.mark.many
def test_loop_with_it_takes_the_steps_of_the_loop_without(monkeypatch):
    chosen = []
    call = backward.call
    monkeypatch.setattr(
        backward,
        "call",
        lambda block, *arguments: (
            chosen.append(block.layer.name) or call(block, *arguments)
        ),
    )
    fast, plain = [training.compiled(training.mlp((32, 32))) for _ in range(2)]
    train(plain, lambda attached: tf.name_scope("plain"))
    assert not chosen
    train(fast, lambda attached: attached.preconditioned_backward())
    assert set(chosen) == {layer.name for layer in fast.layers[:2]}
    assert training.error(fast, plain) <= 1e-6
