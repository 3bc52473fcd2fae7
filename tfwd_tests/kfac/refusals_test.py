"""What K-FAC cannot know or would get wrong is an error, not a number."""

import keras
import numpy as np
import pytest

import tfwd
from tfwd_tests.kfac import training

SPARSE = "sparse_categorical_crossentropy"


@pytest.mark.parametrize("frozen_first", [False, True])
def test_trainable_must_not_change_between_attach_and_build(frozen_first):
    model = training.mlp((8, 8))
    model.layers[0].trainable = not frozen_first
    optimizer = training.optimizer()
    optimizer.attach(model)
    model.layers[0].trainable = frozen_first
    with pytest.raises(ValueError, match="last change of its layers"):
        optimizer.build(model.trainable_variables)
    optimizer.attach(model)
    optimizer.build(model.trainable_variables)


def test_some_of_the_variables_are_refused():
    model, optimizer = training.mlp(), training.optimizer()
    optimizer.attach(model)
    with pytest.raises(ValueError, match="2 variables, not the 4"):
        optimizer.build(model.trainable_variables[2:])


class TiedAutoencoder(keras.Model):
    def __init__(self):
        super().__init__()
        self.encoder = keras.layers.Dense(3, "tanh")

    def call(self, x):
        code = self.encoder(x)
        return keras.ops.matmul(code, keras.ops.transpose(self.encoder.kernel))


def test_variable_used_outside_its_layer_is_refused():
    x, _ = training.examples(8)
    model = TiedAutoencoder()
    model(x)
    optimizer = tfwd.KFAC()
    optimizer.attach(model, "mse")
    with pytest.raises(ValueError, match="used by its own layer alone"):
        optimizer.update_factors(x)


@pytest.mark.parametrize("curvature", ["fisher", "gauss_newton"])
@pytest.mark.parametrize("activation", [None, "sigmoid"])
def test_probabilities_need_the_activation_that_makes_them(
    curvature, activation
):
    model = training.mlp(output=activation)
    optimizer = tfwd.KFAC(curvature=curvature)
    optimizer.attach(model, SPARSE)
    with pytest.raises(ValueError, match="own activation is softmax"):
        optimizer.update_factors(training.examples(8)[0])


def test_loss_weights_are_refused():
    model = training.mlp()
    model.compile(loss=training.cross_entropy(), loss_weights=[2.0])
    with pytest.raises(ValueError, match="`loss_weights` must be None"):
        tfwd.KFAC().attach(model)


def test_loss_that_is_no_likelihood_is_refused_by_attach():
    with pytest.raises(ValueError, match="mean squared error"):
        tfwd.KFAC().attach(training.mlp(), "mae")


def test_refused_attach_leaves_what_was_attached():
    optimizer, first = training.optimizer(), training.mlp()
    report = optimizer.attach(first, training.cross_entropy())
    with pytest.raises(ValueError, match="mean squared error"):
        optimizer.attach(training.mlp((5,)), "mae")
    assert optimizer.report is report
    assert optimizer.attachment.model is first
    assert all("call" in vars(layer) for layer in first.layers)


def test_detaching_one_optimizer_leaves_the_other_its_fit():
    first, second = training.optimizer(), training.optimizer()
    model = training.mlp()
    first.attach(model)
    second.attach(model)
    model.compile(second, training.cross_entropy())
    training.fit(model)
    before = second.factors()
    first.detach()
    training.fit(model)
    for name, factors in second.factors().items():
        assert np.abs(factors[0] - before[name][0]).max() > 0


@pytest.mark.parametrize("name", ["factor_every", "inverse_every", "seed"])
def test_integers_of_numpy_are_integers(name):
    assert type(getattr(tfwd.KFAC(**{name: np.int64(5)}), name)) is int


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"curvature": "hessian"}, "`curvature` must be one of"),
        ({"damping": 0.0}, "`damping` must be in"),
        ({"damping_mode": "none"}, "`damping_mode` must be one of"),
        ({"factor_every": 0}, "`factor_every` must be an integer >= 1"),
        ({"inverse_every": 1.5}, "`inverse_every` must be an integer >= 1"),
        ({"factor_decay": 1.0}, "`factor_decay` must be in"),
        ({"momentum": -0.1}, "`momentum` must be in"),
        ({"kl_clip": 0}, "`kl_clip` must be in"),
        ({"curvature_scale": -1}, "`curvature_scale` must be in"),
        ({"estimation": "all"}, "`estimation` must be one of"),
        ({"on_unsupported": "skip"}, "`on_unsupported` must be one of"),
        ({"update_order": "mine"}, "`update_order` must be one of"),
        ({"weight_decay_mode": "elementwise"}, "`weight_decay_mode` must be"),
    ],
)
def test_bad_arguments_state_their_rule(arguments, rule):
    with pytest.raises(ValueError, match=rule):
        tfwd.KFAC(**arguments)
