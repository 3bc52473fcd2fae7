"""A decay that is restricted from an epoch on, in `fit` and on disk."""

import keras
import numpy as np
import pytest

import tfwd
from tfwd.callbacks import decay_scope_switch
from tfwd.diagnostics.scale_invariance import decay_scope
from tfwd_tests import keras_features
from tfwd_tests.diagnostics import rescaled

RATE, DECAY, STEPS = 0.25, 0.125, 4


def nothing(_, outputs):
    """A loss whose gradient is zero, so that weights only decay."""
    return 0 * keras.ops.mean(outputs, axis=-1)


def kfac():
    # Moving normalization's own variables by the gradient.
    return tfwd.KFAC(RATE, DECAY, on_unsupported="sgd", inverse_every=2)


def compiled(optimizer, loss=nothing):
    model = rescaled.dense()
    for variable in model.trainable_variables:
        variable.assign(np.ones(variable.shape))
    # Without XLA on TensorFlow, which takes long to compile.
    is_jax = keras.backend.backend() == "jax"
    model.compile(optimizer, loss, jit_compile=is_jax)
    if isinstance(optimizer, tfwd.KFAC):
        optimizer.attach(model, "mse")
    return model


def fit(model, epochs, *callbacks, **arguments):
    x = rescaled.images(8 * STEPS, 6).astype("float32")
    y = np.sin(x[:, :3])
    model.fit(
        x,
        y,
        batch_size=8,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=list(callbacks),
        **arguments,
    )
    return model


def place(variable):
    """Returns a path without the model's name, which counts the models."""
    return "/".join(variable.path.split("/")[-2:])


def left_of_ones(model):
    """Returns {place: what is left of the value of one}."""
    return {
        place(variable): float(np.mean(rescaled.values(variable)))
        for variable in model.trainable_variables
    }


@pytest.mark.parametrize(
    "make",
    [
        lambda: tfwd.SGDW(RATE, DECAY, momentum=0),
        lambda: tfwd.SGD(RATE, DECAY, momentum=0),
        kfac,
    ],
    ids=["decoupled", "l2", "kfac"],
)
def test_a_variable_outside_of_the_scope_decays_before_the_switch_only(make):
    switch = decay_scope_switch.DecayScopeSwitch("normalized", first_epoch=2)
    model = fit(compiled(make()), 3, switch)
    for path, left in left_of_ones(model).items():
        epochs = 3 if path.startswith("hidden/") else 1
        expected = (1 - RATE * DECAY) ** (epochs * STEPS)
        # Twelve roundings of float32.
        assert left == pytest.approx(expected, rel=2e-6), path


def test_the_first_epoch_may_be_restricted():
    switch = decay_scope_switch.DecayScopeSwitch("none", first_epoch=1)
    model = fit(compiled(tfwd.SGDW(RATE, DECAY)), 1, switch)
    assert set(left_of_ones(model).values()) == {1.0}


def test_a_later_fit_goes_on_with_the_restricted_decay():
    switch = decay_scope_switch.DecayScopeSwitch("final", first_epoch=2)
    model = fit(compiled(tfwd.SGDW(RATE, DECAY, momentum=0)), 2, switch)
    fit(model, 3, switch, initial_epoch=2)
    for path, left in left_of_ones(model).items():
        epochs = 3 if path.startswith("logits/") else 1
        expected = (1 - RATE * DECAY) ** (epochs * STEPS)
        assert left == pytest.approx(expected, rel=2e-6), path


def test_the_weights_are_those_of_two_fits_with_two_optimizers():
    def plain(**arguments):
        return tfwd.SGDW(RATE, DECAY, momentum=0, **arguments)

    switched = compiled(plain(), "mse")
    by_hand = compiled(plain(), "mse")
    fit(
        switched, 2, decay_scope_switch.DecayScopeSwitch("final", first_epoch=2)
    )
    fit(by_hand, 1)
    patterns = decay_scope.patterns(by_hand, "final")
    by_hand.compile(plain(exclude_from_weight_decay=patterns), "mse")
    fit(by_hand, 1)
    for one, other in zip(
        switched.get_weights(), by_hand.get_weights(), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


def test_what_was_excluded_stays_excluded_and_a_loaded_model_restricted(
    tmp_path,
):
    optimizer = tfwd.AdamS(
        weight_decay=DECAY,
        exclude_from_weight_decay="@bias",
        weight_decay_multipliers={"kernel": 0.5},
    )
    model = compiled(optimizer, "mse")
    decay_scope_switch.restrict(model, "normalized")
    factors = [
        0.5 if place(variable) == "hidden/kernel" else 0.0
        for variable in model.trainable_variables
    ]
    assert list(optimizer.weight_decay_factors) == factors
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert list(loaded.optimizer.weight_decay_factors) == factors
    assert not decay_scope_switch.restrict(loaded, "normalized")
    assert decay_scope_switch.restrict(loaded, "all")
    original = loaded.optimizer.weight_decay_factors
    assert original == (0.5, 0.0, 1.0, 1.0, 0.5, 0.0)


def built(**arguments):
    variables = [
        keras.Variable(np.ones(2), name=name) for name in ("kernel", "bias")
    ]
    optimizer = tfwd.SGDW(RATE, DECAY, momentum=0, **arguments)
    optimizer.build(variables)
    return optimizer, variables


def test_a_restriction_replaces_the_one_before():
    optimizer, _ = built(weight_decay_multipliers={"kernel": 3.0})
    for _ in range(2):
        optimizer.restrict_weight_decay([0.5, 0.25])
        assert optimizer.weight_decay_factors == (1.5, 0.25)
    optimizer.restrict_weight_decay([1, 1])
    assert optimizer.weight_decay_factors == (3.0, 1.0)


def test_a_restriction_that_came_from_a_config_is_replaced_too():
    optimizer, variables = built()
    optimizer.restrict_weight_decay([0.5, 0.25])
    loaded = tfwd.SGDW.from_config(optimizer.get_config())
    loaded.build(variables)
    assert loaded.weight_decay_factors == (0.5, 0.25)
    loaded.restrict_weight_decay([0.5, 0.5])
    assert loaded.weight_decay_factors == (0.5, 0.5)


def test_a_config_without_a_restriction_does_not_speak_of_one():
    optimizer, _ = built()
    assert "weight_decay_restriction" not in optimizer.get_config()


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ([1.0], "of which there are 2. Received: 1 factors"),
        ([1.0, -1.0], "factors=-1.0"),
        ([1.0, float("nan")], "factors=nan"),
        ([1.0, None], "factors=None"),
    ],
)
def test_factors_that_will_not_do_are_refused(factors, message):
    optimizer, _ = built()
    with pytest.raises(ValueError, match=message):
        optimizer.restrict_weight_decay(factors)
    assert optimizer.weight_decay_factors == (1.0, 1.0)


def test_an_optimizer_that_is_not_built_has_nothing_to_restrict():
    with pytest.raises(ValueError, match="after `build`. Received: built=Fal"):
        tfwd.SGD().restrict_weight_decay([1.0])


def test_another_optimizer_is_refused_before_the_first_step():
    model = compiled(keras.optimizers.SGD(), "mse")
    switch = decay_scope_switch.DecayScopeSwitch("final", first_epoch=2)
    with pytest.raises(ValueError, match="optimizer of tfwd. Received: SGD"):
        fit(model, 1, switch)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("body", 1), "scope=body"),
        (("final", 0), "first_epoch=0"),
    ],
)
def test_a_bad_argument_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        decay_scope_switch.DecayScopeSwitch(*arguments)


@keras_features.needs_multi_optimizer
def test_the_optimizers_of_groups_are_restricted_each():
    groups = keras.optimizers.OptimizerMap(
        tfwd.SGDW(RATE, DECAY), {".*bias": tfwd.SGDW(RATE, DECAY)}
    )
    model = compiled(keras.optimizers.MultiOptimizer(groups), "mse")
    decay_scope_switch.restrict(model, "final")
    decaying = [
        place(variable)
        for optimizer in model.optimizer.optimizers
        for variable, factor in zip(
            optimizer.model_variables(),
            optimizer.weight_decay_factors,
            strict=True,
        )
        if factor
    ]
    assert sorted(decaying) == ["logits/bias", "logits/kernel"]
