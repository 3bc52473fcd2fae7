"""Rescaled weights: unchanged predictions, references, moments, refusals.

Covers `moment_scaling`, `rescaling`, `copies` and `weight_norm_transfer`.
"""

import csv
import functools

import keras
import numpy as np
import pytest
from keras import layers

import tfwd
from tfwd import models as project
from tfwd.callbacks import weight_norm_transfer
from tfwd.diagnostics import moment_scaling
from tfwd.diagnostics import norm_transfer
from tfwd.diagnostics.scale_invariance import rescaling
from tfwd_tests.diagnostics import rescaled
from tfwd_tests.kfac import models

# Rounding through a few layers of float64; nothing is approximate.
TOLERANCE = 1e-10


def randomly(model, names=None, seed=0):
    """Returns for each layer its norm times a random factor in [½, 2]."""
    generator = np.random.default_rng(seed)
    return {
        name: rescaled.norm(model, name) * 2 ** generator.uniform(-1, 1)
        for name in (names or rescaling.of_model(model))
    }


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (rescaled.convolutional, {"conv"}),
        (rescaled.concatenating, {"first", "second"}),
    ],
)
def test_predictions_stay_what_they_were_and_norms_are_the_references(
    make, names
):
    with models.float64():
        x = rescaled.images(5, 6, 6, 2)
        model = rescaled.wander(make(), x)
        before = rescaled.outputs(model, x)
        norms = randomly(model)
        assert set(norms) == names
        result = rescaling.rescale(model, norms)
        assert result.not_absorbed == ()
        assert rescaled.change(model, x, before) < TOLERANCE
        for name in names:
            assert rescaled.norm(model, name) == pytest.approx(norms[name])


def test_statistics_of_channels_of_other_layers_are_not_touched():
    with models.float64():
        x = rescaled.images(5, 6, 6, 2)
        model = rescaled.wander(rescaled.concatenating(), x)
        outer = model.get_layer("outer")
        mean, variance = map(
            rescaled.values, (outer.moving_mean, outer.moving_variance)
        )
        scale = np.array([3.0, 3.0, 1.0, 1.0, 1.0])
        norms = {"second": 3 * rescaled.norm(model, "second")}
        rescaling.rescale(model, norms)
        np.testing.assert_allclose(
            rescaled.values(outer.moving_mean), scale * mean, rtol=1e-14
        )
        moved = rescaled.values(outer.moving_variance)
        np.testing.assert_allclose(
            moved + outer.epsilon, scale**2 * (variance + outer.epsilon)
        )
        np.testing.assert_array_equal(moved[2:], variance[2:])


def test_predictions_of_a_separable_convolution_stay():
    """Its bias is scaled with either kernel."""
    with models.float64():
        model = keras.Sequential(
            [
                keras.Input((6, 6, 2)),
                layers.SeparableConv2D(3, 3, name="separable"),
                layers.BatchNormalization(momentum=0.5),
                layers.GlobalMaxPooling2D(),
            ]
        )
        x = rescaled.images(5, 6, 6, 2)
        rescaled.wander(model, x)
        before = rescaled.outputs(model, x)
        found = rescaling.of_model(model)
        assert len(found) == 2
        result = rescaling.apply(
            found.values(),
            {
                name: c * np.linalg.norm(layer.weight_layer.kernel)
                for (name, layer), c in zip(
                    found.items(), (2.0, 3.0), strict=True
                )
            },
        )
        assert rescaled.change(model, x, before) < TOLERANCE
        bias = model.get_layer("separable").bias
        (c,) = [c for variable, c in result.variables if variable is bias]
        assert c == pytest.approx(6)


def test_a_normalization_without_statistics_undoes_it_up_to_its_epsilon():
    with models.float64():
        model = models.built(
            [
                layers.Dense(8, name="hidden"),
                layers.LayerNormalization(epsilon=1e-14),
                layers.Dense(3),
            ],
            (6,),
        )
        x = rescaled.images(5, 6)
        before = rescaled.outputs(model, x)
        rescaling.rescale(model, {"hidden": 2 * rescaled.norm(model, "hidden")})
        assert rescaled.change(model, x, before) < TOLERANCE


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("mlp", (6,)),
        ("resnet20", (8, 8, 3)),
        pytest.param("vgg11", (32, 32, 3), marks=pytest.mark.many),
        pytest.param("vgg16", (32, 32, 3), marks=pytest.mark.many),
        pytest.param("densenet121", (8, 8, 3), marks=pytest.mark.full),
        pytest.param("googlenet", (8, 8, 3), marks=pytest.mark.many),
    ],
)
def test_predictions_of_the_projects_models_stay(name, shape):
    keras.utils.set_random_seed(0)
    model = project.build(name, shape, 3, width=1 / 16)
    x = rescaled.images(4, *shape).astype("float32")
    rescaled.wander(model, x)
    before = rescaled.outputs(model, x)
    norms = randomly(model)
    convolutions = [
        each
        for each in model.layers
        if isinstance(each, (layers.Conv2D, layers.Dense))
    ]
    assert len(norms) == len(convolutions) - 1
    rescaling.rescale(model, norms)
    # Of float32, through up to 120 layers.
    assert rescaled.change(model, x, before) < 1e-5


def test_an_epsilon_that_cannot_be_taken_in_is_reported():
    with models.float64():
        model = rescaled.dense()
        norm = model.get_layer("norm")
        norm.moving_variance.assign(np.full(8, 3 * norm.epsilon))
        # (σ² + ε)/4 − ε is zero at one half.
        for c, not_absorbed in ((0.51, ()), (0.97, ("norm",))):
            norms = {"hidden": c * rescaled.norm(model, "hidden")}
            result = rescaling.rescale(model, norms)
            assert result.not_absorbed == not_absorbed
        np.testing.assert_array_equal(rescaled.values(norm.moving_variance), 0)


@pytest.mark.parametrize(
    ("norms", "message"),
    [
        ({"hidden": 2.0, "logits": 2.0}, "'logits', whose scale the outp"),
        ({"hidden": 2.0, "nowhere": 2.0}, "hidden, logits.*'nowhere'"),
        ({"hidden": 0.0}, r"norms\['hidden'\]=0.0"),
        ({"hidden": float("nan")}, r"norms\['hidden'\]=nan"),
        ({"hidden": float("inf")}, r"norms\['hidden'\]=inf"),
    ],
)
def test_a_layer_or_norm_that_will_not_do_is_refused(norms, message):
    model = rescaled.dense()
    before = model.get_weights()
    with pytest.raises(ValueError, match=message) as error:
        rescaling.rescale(model, norms)
    assert "\n" not in str(error.value)
    for after, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(after, old)


def test_nothing_is_written_if_one_of_the_factors_will_not_do():
    model = rescaled.concatenating()
    kernel = model.get_layer("second").kernel
    kernel.assign(np.zeros(kernel.shape))
    before = model.get_weights()
    with pytest.raises(ValueError, match="1.0 for 'second' with 0.0"):
        rescaling.rescale(model, {"first": 1.0, "second": 1.0})
    for after, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(after, old)


def examples(rows=32):
    x = rescaled.images(rows, 6).astype("float32")
    return x, np.argmax(x[:, :3], axis=-1)


def compiled(optimizer, model=None):
    model = model or rescaled.dense()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # Without XLA on TensorFlow, which takes long to compile.
    model.compile(optimizer, loss, jit_compile=models.BACKEND == "jax")
    return model


def fit(model, epochs=1, callbacks=(), **arguments):
    return model.fit(
        *examples(),
        batch_size=8,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=list(callbacks),
        **arguments,
    )


def pair(optimizer):
    """Returns two models with the same weights, compiled alike."""
    first, second = compiled(optimizer()), compiled(optimizer())
    second.set_weights(first.get_weights())
    return first, second


def test_fit_with_the_callback_is_fits_of_one_epoch_rescaled_by_hand():
    by_callback, by_hand = pair(lambda: tfwd.SGD(0.1, momentum=0.9))
    references = {2: {"hidden": 5.0}, 3: {"hidden": 0.75}}
    callback = weight_norm_transfer.WeightNormTransfer(
        references, first_epoch=2, moments="scale"
    )
    fit(by_callback, 3, [callback])
    for epoch in (1, 2, 3):
        fit(by_hand)
        if epoch == 1:
            continue
        hidden, norm = by_hand.get_layer("hidden"), by_hand.get_layer("norm")
        c = references[epoch]["hidden"] / rescaled.norm(by_hand, "hidden")
        for variable in (hidden.kernel, hidden.bias, norm.moving_mean):
            variable.assign(rescaled.values(variable) * c)
        variance = rescaled.values(norm.moving_variance) + norm.epsilon
        norm.moving_variance.assign(
            np.maximum(c**2 * variance - norm.epsilon, 0)
        )
        for m in by_hand.optimizer.momentums[:2]:
            m.assign(rescaled.values(m) / c)
    # Of float32, twelve steps long.
    for one, other in zip(
        by_callback.get_weights(), by_hand.get_weights(), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    assert rescaled.norm(by_callback, "hidden") == pytest.approx(0.75)


def write_csv(path, rows, columns=("epoch", "step", "layer", "weight_norm")):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
    return path


def test_a_recorded_file_is_the_dict_of_its_norms(tmp_path):
    path = write_csv(
        tmp_path / "diagnostics.csv",
        [
            (0, 0, "hidden", 1.5),
            (0, 0, "(model)", ""),
            (1, 4, "hidden", 0.1 + 0.2),
            (1, 4, "logits", 2.5),
        ],
    )
    assert norm_transfer.reference_norms(path) == {
        0: {"hidden": 1.5},
        1: {"hidden": 0.1 + 0.2, "logits": 2.5},
    }


def test_a_bad_file_is_refused_with_its_path(tmp_path):
    path = write_csv(tmp_path / "a.csv", [], ("epoch", "layer"))
    with pytest.raises(ValueError, match="a.csv without weight_norm"):
        norm_transfer.reference_norms(path)
    path = write_csv(tmp_path / "b.csv", [("first", 0, "hidden", 1.0)])
    with pytest.raises(ValueError, match="b.csv, line 2: first, 1.0"):
        norm_transfer.reference_norms(path)
    with pytest.raises(ValueError, match="Received: norms=3"):
        norm_transfer.reference_norms(3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"norms": {1: {"hidden": 1.0}}}, "none of 'hidden' in epoch 2"),
        ({"norms": {1: {}, 2: {"hidden": 1.0}}}, "'hidden' in epoch 1"),
        ({"norms": {1: {"hidden": -1.0}}}, r"norms\[1\]\['hidden'\]=-1.0"),
        ({"norms": {}, "layers": ["logits"]}, "'logits', whose scale"),
        ({"norms": {}, "moments": "scale"}, "Received: Nadam"),
    ],
)
def test_a_reference_that_will_not_do_is_refused_before_the_first_step(
    arguments, message
):
    model = compiled(keras.optimizers.Nadam())
    before = model.get_weights()
    callback = weight_norm_transfer.WeightNormTransfer(**arguments)
    with pytest.raises(ValueError, match=message) as error:
        fit(model, 2, [callback])
    assert "\n" not in str(error.value)
    np.testing.assert_array_equal(model.get_weights()[0], before[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"first_epoch": 0}, "first_epoch=0"),
        ({"moments": "drop"}, "moments=drop"),
    ],
)
def test_a_bad_argument_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        weight_norm_transfer.WeightNormTransfer({}, **arguments)


def test_a_model_without_normalization_is_refused():
    model = models.built([layers.Dense(3, name="only")], (6,))
    with pytest.raises(ValueError, match="before a normalization.*only"):
        norm_transfer.Transfer(model, tfwd.SGD(), {})


def invariant():
    """Returns a network that does not see the scale of any variable."""

    def norm():
        return layers.BatchNormalization(epsilon=0, center=False, scale=False)

    return models.built(
        [
            layers.Dense(5, use_bias=False, name="first"),
            norm(),
            layers.Activation("tanh"),
            layers.Dense(3, use_bias=False, name="second"),
            norm(),
        ],
        (4,),
    )


def trained(optimizer):
    """Returns an invariant network after three steps."""
    model = invariant()
    is_jax = models.BACKEND == "jax"
    model.compile(optimizer, models.loss_of("gaussian"), jit_compile=is_jax)
    train(model, seed=1)
    return model


def train(model, seed):
    """Takes three steps on three batches."""
    for step in range(3):
        x = models.normal(8, 4, seed=10 * seed + step)
        model.train_on_batch(x, models.normal(8, 3, seed=20 * seed + step))


def norms_times(model, c):
    return {n: c * rescaled.norm(model, n) for n in ("first", "second")}


@pytest.mark.parametrize(
    ("make", "power"),
    [
        (lambda: tfwd.SGD(0.1, momentum=0.9), 2),
        (lambda: tfwd.Adai(0.1), 2),
        (lambda: tfwd.AMSGrad(0.01, epsilon=0.0), 1),
    ],
)
def test_scaled_moments_continue_with_steps_times_c(make, power):
    """With learning rate c²η for SGD and cη for Adam, see `moment_scaling`."""
    c = 1.7
    with models.float64():
        plain, moved = trained(make()), trained(make())
        optimizer = moved.optimizer
        norms = {1: norms_times(moved, c)}
        norm_transfer.Transfer(moved, optimizer, norms, moments="scale").apply(
            1
        )
        rate = float(optimizer.learning_rate)
        optimizer.learning_rate = c**power * rate
        for model in (plain, moved):
            train(model, seed=2)
        for one, other in zip(
            moved.trainable_variables, plain.trainable_variables, strict=True
        ):
            error = models.error(
                [rescaled.values(one)], [c * rescaled.values(other)]
            )
            assert error < TOLERANCE


def test_a_buffer_with_the_learning_rate_in_it_goes_on_like_one_without():
    # Keras' own passes numbers through float32, which holds these exactly.
    numbers = {"learning_rate": 0.125, "momentum": 0.875}
    optimizers = (
        tfwd.SGD(**numbers),
        tfwd.SGD(**numbers, folded_learning_rate=True),
        keras.optimizers.SGD(**numbers),
    )
    with models.float64():
        results = []
        for optimizer in optimizers:
            model = trained(optimizer)
            norm_transfer.Transfer(
                model, optimizer, {1: norms_times(model, 1.7)}, moments="scale"
            ).apply(1)
            train(model, seed=2)
            results.append(
                [rescaled.values(v) for v in model.trainable_variables]
            )
        assert models.error(results[1], results[0]) < TOLERANCE
        assert models.error(results[2], results[0]) < TOLERANCE


def filled(optimizer, model, *names):
    """Returns the slots of an optimizer's variables, which are made ones."""
    optimizer.build(model.trainable_variables)
    slots = [getattr(optimizer, name) for name in names]
    for slot in [slot for each in slots for slot in each]:
        slot.assign(np.ones(slot.shape))
    return slots


def test_moments_are_left_alone_by_default():
    model, optimizer = invariant(), tfwd.AdamS(0.01)
    slots = filled(optimizer, model, "momentums", "velocities")
    norms = {1: norms_times(model, 2.0)}
    norm_transfer.Transfer(model, optimizer, norms).apply(1)
    for slot in [slot for each in slots for slot in each]:
        np.testing.assert_array_equal(rescaled.values(slot), 1)


@pytest.mark.parametrize("is_wrapped", [False, True])
@pytest.mark.parametrize(
    ("make", "powers"),
    [
        (tfwd.SGDS, {"momentums": 1}),
        (
            tfwd.Padam,
            {"momentums": 1, "velocities": 2, "maximal_velocities": 2},
        ),
        (
            tfwd.AdaiS,
            {"momentums": 1, "velocities": 2, "gathered_weights": 0},
        ),
        (
            functools.partial(keras.optimizers.AdamW, amsgrad=True),
            {"_momentums": 1, "_velocities": 2, "_velocity_hats": 2},
        ),
    ],
)
def test_slots_of_a_rescaled_variable_alone_are_divided(
    make, powers, is_wrapped
):
    model, optimizer = invariant(), make()
    slots = filled(optimizer, model, *powers)
    if is_wrapped:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    kernel = model.get_layer("second").kernel
    moment_scaling.scale(optimizer, [(kernel, 4.0)])
    for slot, power in zip(slots, powers.values(), strict=True):
        first, second = map(rescaled.values, slot)
        np.testing.assert_array_equal(first, 1)
        np.testing.assert_array_equal(second, 4.0**-power)


def test_an_optimizer_without_moments_has_nothing_to_scale():
    model = rescaled.dense()
    factors = [(model.get_layer("hidden").kernel, 2.0)]
    unbuilt, without = tfwd.AdamS(), tfwd.SGD(momentum=0)
    without.build(model.trainable_variables)
    for optimizer in (unbuilt, without):
        before = [float(v) for v in optimizer.variables]
        moment_scaling.scale(optimizer, factors)
        assert [float(v) for v in optimizer.variables] == before
