"""What a user sees of `attach`: its report, its errors, what it leaves.

Covers `attachment`, `registration`, `attached`, `configured` and
`compiled_model`.
"""

import keras
import numpy as np
import pytest
from keras import layers

import tfwd
from tfwd_tests.kfac import training


def hooked(model):
    return [layer for layer in model.layers if "call" in vars(layer)]


def assert_one_line(error):
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("damping_mode", ["factored", "eigen"])
def test_bytes_of_the_report_are_those_of_the_variables(damping_mode):
    optimizer = training.optimizer(damping_mode=damping_mode)
    model = training.mlp()
    report = optimizer.attach(model)
    optimizer.build(model.trainable_variables)
    held = sum(
        keras.ops.convert_to_numpy(v).nbytes
        for v in optimizer.variables
        if v.name.startswith(("factor_", "inverse_"))
        and v.name != "factor_weights"
    )
    shown = [
        int(line.split()[-1].replace(",", ""))
        for line in str(report).splitlines()[1:-1]
    ]
    assert sum(shown) == held


def test_summary_prints_a_row_per_layer_and_the_total():
    optimizer = training.optimizer()
    model = training.mlp()
    report = optimizer.attach(model)
    printed = []
    optimizer.summary(printed.append)
    assert printed == [str(report)]
    header, first, second, total = str(report).splitlines()
    assert header.split() == ["layer", "block", "factors", "bytes"]
    name = model.layers[0].name
    assert first.split() == [name, "dense", "7×7,", "8×8", "904"]
    assert second.split()[1:] == ["dense", "9×9,", "3×3", "720"]
    assert total == "factors and inverses: 0.00 MiB"


def test_fit_without_attach_says_so_in_one_line():
    model = training.mlp()
    model.compile(training.optimizer(), training.cross_entropy())
    with pytest.raises(
        ValueError, match=r"optimizer\.attach\(model\)"
    ) as error:
        training.fit(model)
    assert_one_line(error)


def test_unbuilt_model_is_refused():
    model = keras.Sequential([layers.Dense(3)])
    with pytest.raises(ValueError, match="built=False") as error:
        training.optimizer().attach(model)
    assert_one_line(error)


def test_loaded_model_needs_attach_and_keeps_its_factors(tmp_path):
    model = training.compiled()
    training.fit(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="again after loading") as error:
        training.fit(loaded)
    assert_one_line(error)
    # Keras on JAX has taken the variables' values away by then.
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    loaded.optimizer.attach(loaded)
    assert training.factor_error(loaded.optimizer, model.optimizer) == 0
    training.fit(loaded)
    training.fit(model)
    assert training.error(loaded, model) == 0


def test_model_of_other_sizes_is_refused():
    optimizer = training.optimizer()
    optimizer.attach(training.mlp())
    config = optimizer.get_config()
    loaded = tfwd.KFAC.from_config(config)
    loaded.build(training.mlp().trainable_variables)
    with pytest.raises(ValueError, match="of 2 blocks") as error:
        loaded.attach(training.mlp((9,)))
    assert_one_line(error)
    # Without factors it is a new one.
    tfwd.KFAC.from_config(config).attach(training.mlp((9,)))


def test_detach_leaves_a_model_as_it_was():
    model = training.compiled()
    assert hooked(model) == model.layers
    training.fit(model)
    model.optimizer.detach()
    assert hooked(model) == []
    never = training.mlp()
    model.set_weights(never.get_weights())
    for each in (model, never):
        each.compile(keras.optimizers.SGD(0.1), training.cross_entropy())
        training.fit(each)
    assert training.error(model, never) == 0


def test_unbuilt_optimizer_moves_to_the_model_it_is_attached_to_last():
    optimizer = training.optimizer()
    first, second = training.mlp(), training.mlp((5,))
    optimizer.attach(first)
    optimizer.attach(second)
    assert hooked(first) == []
    assert hooked(second) == second.layers
    second.compile(optimizer, training.cross_entropy())
    losses = training.fit(second, epochs=2)
    assert losses[1] < losses[0]


def test_built_optimizer_refuses_another_model():
    model = training.compiled()
    model.optimizer.build(model.trainable_variables)
    with pytest.raises(ValueError, match="new optimizer") as error:
        model.optimizer.attach(training.mlp())
    assert_one_line(error)
    assert hooked(model) == model.layers


@pytest.mark.many
def test_two_optimizers_on_models_that_share_a_layer_both_work():
    inputs = keras.Input((training.INPUTS,))
    shared = layers.Dense(8, "tanh")
    models = [
        keras.Model(inputs, layers.Dense(training.CLASSES)(shared(inputs)))
        for _ in range(2)
    ]
    for model in models:
        training.compiled(model)
    first = [training.fit(model)[0] for model in models]
    models[0].optimizer.detach()
    assert "call" in vars(shared)
    assert training.fit(models[1])[0] < first[1]
    models[1].optimizer.detach()
    assert "call" not in vars(shared)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.inner = training.mlp((5,))
        self.norm = layers.LayerNormalization()
        self.head = layers.Dense(training.CLASSES)

    def call(self, inputs):
        return self.head(self.norm(self.inner(inputs)))


def test_layers_of_nested_and_subclassed_models_are_found():
    model = Subclassed()
    model(np.zeros((1, training.INPUTS), "float32"))
    report = training.optimizer().attach(model)
    kinds = [record.kind for record in report.records]
    assert sorted(kinds)[:3] == ["dense"] * 3
    assert len(kinds) == 4
    losses = training.fit(training.compiled(model), epochs=2)
    assert losses[1] < losses[0]


def test_positions_of_all_calls_enter_the_factors_of_a_layer_called_twice():
    inputs = keras.Input((training.INPUTS,))
    tied = layers.Dense(training.INPUTS, name="tied")
    hidden = keras.ops.tanh(tied(inputs))
    head = layers.Dense(training.CLASSES)
    model = training.reset(keras.Model(inputs, head(tied(hidden))))
    optimizer = training.optimizer(
        curvature="gauss_newton", estimation="exact", factor_decay=0.5
    )
    optimizer.attach(model, training.cross_entropy())
    x, _ = training.examples(10)
    optimizer.update_factors(x)
    kernel, bias = [w.astype("float64") for w in tied.get_weights()]
    out = head.get_weights()[0].astype("float64")
    h = np.tanh(x @ kernel + bias)
    rows = np.concatenate([x, h])
    rows = np.concatenate([rows, np.ones((20, 1))], axis=1)
    second = np.repeat(out.T[None], 10, axis=0)
    first = (second @ kernel.T) * (1 - h**2)[:, None]
    g = np.concatenate([first, second]).reshape(-1, training.INPUTS)
    actual = optimizer.factors()["tied"]
    assert training.error(actual, [rows.T @ rows / 20, g.T @ g / 20]) <= 1e-6


def test_frozen_layer_has_no_block():
    model = training.mlp()
    model.layers[0].trainable = False
    before = model.layers[0].get_weights()
    training.compiled(model)
    assert hooked(model) == [model.layers[1]]
    losses = training.fit(model, epochs=2)
    assert losses[1] < losses[0]
    assert training.error(model.layers[0].get_weights(), before) == 0


def test_attach_of_the_package_unwraps_the_loss_scale():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = training.mlp()
        model.compile(training.optimizer(), training.cross_entropy())
        assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
        assert len(tfwd.attach(model).records) == 2
        losses = training.fit(model, epochs=3)
    finally:
        keras.config.set_dtype_policy("float32")
    assert losses[2] < losses[0]


def test_attach_of_the_package_refuses_other_optimizers():
    model = training.mlp()
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="compiled with `tfwd.KFAC`"):
        tfwd.attach(model)


@pytest.mark.many
def test_compiling_before_attaching_after_it_and_again_are_the_same():
    after = training.compiled()
    before = training.mlp()
    optimizer = training.optimizer()
    before.compile(optimizer, training.cross_entropy())
    optimizer.attach(before)
    for model in (before, after):
        training.fit(model)
    assert training.error(before, after) == 0
    before.compile(optimizer, training.cross_entropy())
    for model in (before, after):
        training.fit(model)
    assert training.error(before, after) == 0


def test_layer_replaced_after_attaching_is_noticed_by_the_next_factors():
    model = training.compiled()
    model.pop()
    model.add(layers.Dense(training.CLASSES))
    with pytest.raises(ValueError, match="last change of its layers"):
        model.optimizer.update_factors(training.examples()[0])
    built = training.compiled()
    built.optimizer.build(built.trainable_variables)
    name = built.layers[1].name
    built.pop()
    built.add(layers.Dense(training.CLASSES))
    with pytest.raises(ValueError, match=f"{name}, not called"):
        built.optimizer.update_factors(training.examples()[0])


class OwnStep(keras.Model):
    def __init__(self):
        super().__init__()
        self.inner = training.mlp()

    def call(self, inputs, training=False):
        return self.inner(inputs, training=training)

    def train_step(self, *arguments):
        return super().train_step(*arguments)


@pytest.mark.many
def test_train_step_of_ones_own_is_refused_by_fit_and_works_in_a_loop():
    x, y = training.examples()
    own, plain = OwnStep(), training.mlp()
    own(x[:1])
    for model in (own, plain):
        training.compiled(model)
    with pytest.raises(ValueError, match=r"Received: OwnStep\.train_step"):
        training.fit(own)
    batches = [(x[i : i + 16], y[i : i + 16]) for i in range(0, 96, 16)]
    training.by_hand(own, batches)
    training.fit(plain)
    assert training.error(own.inner, plain) <= 1e-6


def test_config_round_trip_keeps_every_argument_and_the_registration():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)
    optimizer = training.optimizer(
        damping=schedule,
        curvature="gauss_newton",
        damping_mode="eigen",
        kl_clip=1e-3,
        stagger_inverses=True,
        curvature_scale=2.0,
        estimation="exact",
        on_unsupported="sgd",
        update_order="authors",
        seed=3,
        exclude_from_weight_decay="@bias",
    )
    optimizer.attach(training.mlp())
    config = optimizer.get_config()
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert copy.get_config() == config
    assert copy.damping.get_config() == schedule.get_config()
    assert len(config["registration"]["blocks"]) == 2


def test_detach_leaves_a_fit_of_the_users_own():
    model, optimizer = training.mlp(), training.optimizer()

    def own():
        return "own"

    object.__setattr__(model, "fit", own)
    optimizer.attach(model)
    optimizer.detach()
    assert model.fit is own
