"""Which hyperparameters an optimizer has, and what they make of it."""

import keras
import keras_tuner
import pytest

import tfwd


def space_of(**given):
    """Returns {name: hyperparameter}."""
    hp = keras_tuner.HyperParameters()
    tfwd.tuning.optimizer(hp, **given)
    return {each.name: each for each in hp.space}


def chosen(values, **given):
    """Returns the optimizer of the values of hyperparameters."""
    hp = keras_tuner.HyperParameters()
    tfwd.tuning.optimizer(hp, **given)
    hp.values = dict(values)
    return tfwd.tuning.optimizer(hp, **given)


def test_names_are_those_of_the_table():
    names = ["optimizer", "learning_rate"]
    names += ["adamw/weight_decay", "adams/weight_decay"]
    assert list(space_of()) == names
    names = ["optimizer", "learning_rate", "kfac/timescale", "kfac/damping"]
    given = {"coordinate": "timescale", "steps_per_epoch": 4}
    assert list(space_of(optimizers=["kfac"], **given)) == names


@pytest.mark.parametrize("coordinate", ["weight_decay", "rate"])
@pytest.mark.parametrize(
    "name, factor",
    [("adamw", 1e3), ("sgdw", 10), ("kfac", 10), ("adaiw", 1), ("adam", 1)],
)
def test_range_is_so_many_times_that_of_a_stable_decay(
    name, factor, coordinate
):
    space = space_of(
        optimizers=(name, "adams"),
        weight_decay=(1e-6, 1e-4),
        coordinate=coordinate,
    )
    own, stable = space[f"{name}/{coordinate}"], space[f"adams/{coordinate}"]
    assert (stable.min_value, stable.max_value) == (1e-6, 1e-4)
    assert own.min_value == pytest.approx(factor * 1e-6, rel=1e-9)
    assert own.max_value == pytest.approx(factor * 1e-4, rel=1e-9)
    assert own.sampling == "log"


def test_timescale_has_one_range_for_all():
    space = space_of(
        optimizers=("adamw", "sgds"),
        weight_decay=(2, 50),
        coordinate="timescale",
        steps_per_epoch=4,
    )
    for name in ("adamw/timescale", "sgds/timescale"):
        assert (space[name].min_value, space[name].max_value) == (2, 50)


def test_values_are_those_of_the_optimizer():
    values = {"optimizer": "adams", "learning_rate": 0.25}
    made = chosen(values | {"adams/weight_decay": 0.5})
    config = made.get_config()
    assert type(made) is tfwd.AdamS
    assert (config["learning_rate"], config["weight_decay"]) == (0.25, 0.5)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(made))
    assert again.get_config() == config


@pytest.mark.parametrize(
    "name, values, given, weight_decay",
    [
        ("adamw", {"adamw/rate": 0.5}, {"coordinate": "rate"}, 2),
        # s = 0.5/0.25 makes 1/(0.25 · 2 · 4 · 8).
        (
            "sgds",
            {"sgds/timescale": 4.0},
            {"momentum": 0.75, "dampening": 0.5, "coordinate": "timescale"},
            1 / 16,
        ),
        ("kfac", {"kfac/weight_decay": 0.5, "kfac/damping": 2.0}, {}, 0.5),
    ],
)
def test_coordinate_means_the_weight_decay_of_its_formula(
    name, values, given, weight_decay
):
    values = {"optimizer": name, "learning_rate": 0.25, **values}
    made = chosen(values, optimizers=(name,), steps_per_epoch=8, **given)
    config = made.get_config()
    assert config["weight_decay"] == weight_decay
    assert config.get("damping") == values.get("kfac/damping")


def test_number_in_place_of_a_range_is_held():
    given = {"learning_rate": 0.25, "weight_decay": 0.5, "damping": 2.0}
    names = ("adams", "adamw", "kfac")
    assert list(space_of(optimizers=names, **given)) == ["optimizer"]
    held = {}
    for name in names:
        made = chosen({"optimizer": name}, optimizers=names, **given)
        held[name] = made.get_config()["weight_decay"]
    assert held == {"adams": 0.5, "adamw": 500, "kfac": 5}
    made = chosen({"optimizer": "adams"}, weight_decay=0, learning_rate=1)
    assert made.get_config()["weight_decay"] == 0


def test_fixed_argument_goes_to_those_that_have_it():
    given = {"momentum": 0.5, "beta_2": 0.75, "clipnorm": 3.0}
    held = {"learning_rate": 1, "weight_decay": 0}
    for name, own in (("sgds", "momentum"), ("adams", "beta_2")):
        config = chosen(
            {"optimizer": name}, optimizers=("sgds", "adams"), **held, **given
        ).get_config()
        assert (config[own], config["clipnorm"]) == (given[own], 3.0)


def test_name_scope_stands_before_every_name():
    hp = keras_tuner.HyperParameters()
    with hp.name_scope("first"):
        tfwd.tuning.optimizer(hp)
    assert all(each.name.startswith("first/") for each in hp.space)


@pytest.mark.parametrize(
    "given, message",
    [
        ({"optimizers": "adamw"}, "`optimizers` must be a list"),
        ({"optimizers": ()}, "`optimizers` must be a list"),
        ({"optimizers": ["adamx"]}, "`optimizers` must be one of sgd, "),
        ({"optimizers": ["adam", "adam"]}, "`optimizers` must name each"),
        ({"learning_rate": (1, 2, 3)}, "`learning_rate` must be a number or"),
        ({"learning_rate": (0, 1)}, r"`learning_rate` must be in \(0, inf\)"),
        ({"learning_rate": 0}, r"`learning_rate` must be in \(0, inf\)"),
        ({"weight_decay": (2, 1)}, "`weight_decay` must be a pair"),
        ({"weight_decay": "1"}, r"`weight_decay` must be in \[0, inf\)"),
        ({"damping": (1, 1)}, "`damping` must be a pair"),
        ({"coordinate": "time"}, "`coordinate` must be one of weight_decay, "),
        (
            {"coordinate": "timescale", "steps_per_epoch": 2},
            '`coordinate` must be "weight_decay" or "rate" for .* adams in',
        ),
        (
            {"coordinate": "timescale"},
            "`steps_per_epoch` must be an integer >= 1",
        ),
        (
            {"weight_decay_mode": "l2"},
            "`weight_decay_mode` must be one of decoupled for adamw",
        ),
        ({"momentum": 0.5}, "`momentum` must be an argument of one of the"),
    ],
)
def test_bad_argument_is_one_line_whichever_optimizer_is_chosen(given, message):
    hp = keras_tuner.HyperParameters()
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        tfwd.tuning.optimizer(hp, **given)
    name = message.split("`")[1]
    assert "\n" not in str(caught.value)
    assert f"Received: {name}=" in str(caught.value)
    assert hp.space == []
