"""A model whose trainable set changed loads with its decay rules."""

import pickle

import keras
import numpy as np
import pytest

import tfwd

pytestmark = pytest.mark.filterwarnings(
    # Keras' own words on what it skips, and ours.
    "ignore:Skipping variable loading for optimizer",
    "ignore:.*patterns are resolved anew",
    "ignore:.*matches no variable",
    "ignore:.*[Ss]aving",
    "ignore:.*HDF5",
)
X = np.random.default_rng(0).normal(size=(16, 4)).astype("float32")
Y = np.ones((16, 2), "float32")
RULES = {
    "exclude_from_weight_decay": ["head/kernel", "@bias"],
    "weight_decay_multipliers": {"body": 0.5},
}


def trained(epochs=1, **rules):
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(4, name="body"),
            keras.layers.Dense(2, name="head"),
        ]
    )
    optimizer = tfwd.AdamS(0.01, weight_decay=0.1, **(rules or RULES))
    model.compile(optimizer, keras.losses.MeanSquaredError())
    if epochs:
        model.fit(X, Y, epochs=epochs, verbose=0)
    return model


def factors(model):
    """Returns {path: factor}, the names of variables' models left out."""
    return {
        "/".join(variable.path.split("/")[-2:]): factor
        for variable, factor in zip(
            model.optimizer.model_variables(),
            model.optimizer.weight_decay_factors,
            strict=True,
        )
    }


def freeze(model):
    model.layers[0].trainable = False


def lora(model):
    model.layers[0].enable_lora(2)


def int8(model):
    model.layers[0].quantize("int8")


CHANGES = {
    freeze: {"head/kernel": 0.0, "head/bias": 0.0},
    lora: {
        "body/bias": 0.0,
        "body/lora_kernel_a": 0.5,
        "body/lora_kernel_b": 0.5,
        "head/kernel": 0.0,
        "head/bias": 0.0,
    },
    int8: {"body/bias": 0.0, "head/kernel": 0.0, "head/bias": 0.0},
}


def loaded_from(path):
    """Returns a model; of the old format with the optimizer made again.

    Keras 3.15 builds the optimizer of an .h5 file for no variables at all, so
    that its own ones, too, train such a model after another `compile` only.
    """
    model = keras.saving.load_model(path)
    if path.endswith(".h5"):
        assert model.optimizer.built
        assert model.optimizer.weight_decay_factors == ()
        config = keras.optimizers.serialize(model.optimizer)
        optimizer = keras.optimizers.deserialize(config)
        model.compile(optimizer, keras.losses.MeanSquaredError())
        model.optimizer.build(model.trainable_variables)
    return model


def check(loaded, expected):
    assert factors(loaded) == expected
    before = loaded.get_weights()
    loaded.fit(X, Y, verbose=0)
    assert any(
        np.any(one != other)
        for one, other in zip(before, loaded.get_weights(), strict=True)
    )


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("change", CHANGES, ids=lambda c: c.__name__)
def test_changed_model_loads_and_its_patterns_hold_for_what_is_left(
    change, suffix, tmp_path
):
    model = trained()
    change(model)
    path = str(tmp_path / f"model{suffix}")
    model.save(path)
    check(loaded_from(path), CHANGES[change])


def test_unfrozen_model_loads(tmp_path):
    model = trained(epochs=0)
    freeze(model)
    model.compile(
        tfwd.AdamS(0.01, 0.1, exclude_from_weight_decay="@bias"), "mse"
    )
    model.fit(X, Y, verbose=0)
    model.layers[0].trainable = True
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    expected = dict.fromkeys(("body/kernel", "head/kernel"), 1.0)
    check(loaded, expected | dict.fromkeys(("body/bias", "head/bias"), 0.0))


def test_checkpoint_of_a_callback_that_freezes_loads(tmp_path):
    path = str(tmp_path / "model.keras")
    model = trained()
    # Not before the epoch: on JAX Keras takes no step of a changed model.
    freezing = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: freeze(model)
    )
    saving = keras.callbacks.ModelCheckpoint(path)
    model.fit(X, Y, verbose=0, callbacks=[freezing, saving])
    check(keras.saving.load_model(path), CHANGES[freeze])


@pytest.mark.parametrize("change", CHANGES, ids=lambda c: c.__name__)
def test_changed_model_is_pickled(change):
    model = trained()
    change(model)
    check(pickle.loads(pickle.dumps(model)), CHANGES[change])


def test_cloned_model_takes_the_cloned_optimizer():
    model = trained()
    freeze(model)
    clone = keras.models.clone_model(model)
    config = keras.optimizers.serialize(model.optimizer)
    clone.compile(keras.optimizers.deserialize(config), "mse")
    clone.fit(X, Y, verbose=0)
    assert factors(clone) == CHANGES[freeze]


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_model_that_was_never_trained_loads_though_a_pattern_met_frozen_ones(
    suffix, tmp_path
):
    model = trained(epochs=0, exclude_from_weight_decay=["body"])
    freeze(model)
    path = str(tmp_path / f"model{suffix}")
    model.save(path)
    check(loaded_from(path), {"head/kernel": 1.0, "head/bias": 1.0})


def test_a_restricted_optimizer_loads_with_a_changed_model(tmp_path):
    model = trained(exclude_from_weight_decay=["head/bias"])
    model.optimizer.restrict_weight_decay([1.0, 0.25, 0.5, 1.0])
    freeze(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    check(loaded, {"head/kernel": 0.5, "head/bias": 0.0})


def test_a_new_optimizer_still_refuses_a_pattern_that_meets_nothing():
    with pytest.raises(ValueError, match="must match a variable with each"):
        trained(exclude_from_weight_decay=["boddy"])


def test_unchanged_model_of_the_old_format_keeps_its_factors(tmp_path):
    model = trained()
    path = str(tmp_path / "model.h5")
    model.save(path)
    assert factors(loaded_from(path)) == {
        "body/kernel": 0.5,
        "body/bias": 0.0,
        "head/kernel": 0.0,
        "head/bias": 0.0,
    }
