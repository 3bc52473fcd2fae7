"""From settings to an optimizer: arguments, defaults, scaling, schedules.

Covers `rates`.
"""

import keras
import pytest

from tfwd.training.config import fields
from tfwd.training.config import flag_lines
from tfwd.training.config import settings as settings_lib
from tfwd.training.setup import optimization as optimizer_lib
from tfwd_tests.training import published

OTHER_VALUES = {
    "nesterov": True,
    "folded_learning_rate": True,
    "momentum": 0.8,
    "dampening": 0.25,
    "beta_0": 0.2,
    "beta_1": 0.8,
    "beta_2": 0.98,
    "epsilon": 1e-5,
    "adaptivity": 0.25,
    "second_moment_offset": 1e-8,
    "final_learning_rate": 0.2,
    "gamma": 2e-3,
    "initial_learning_rate": 0.5,
    "partial": 0.125,
    "initial_accumulator_value": 1e-5,
    "curvature": "gauss_newton",
    "damping": 0.01,
    "damping_mode": "eigen",
    "factor_decay": 0.9,
    "factor_every": 5,
    "inverse_every": 50,
    "kl_clip": 1e-4,
    "stagger_inverses": True,
    "curvature_scale": 2.0,
    "estimation": "exact",
    "on_unsupported": "sgd",
    "update_order": "authors",
    "seed": 3,
}
OF_STABLE_DECAY = ("adaptivity", "second_moment_offset")


def planned(steps_per_epoch=10, **settings):
    return optimizer_lib.plan(
        settings_lib.Settings(**settings), steps_per_epoch
    )


def values(schedule, steps):
    return [optimizer_lib.value_at(schedule, step) for step in steps]


@pytest.mark.parametrize("name", optimizer_lib.OPTIMIZERS)
def test_every_hyperparameter_has_a_flag_that_arrives(name):
    cls = optimizer_lib.OPTIMIZERS[name]
    for hyperparameter in cls.hyperparameters:
        value = OTHER_VALUES[hyperparameter]
        mode = None
        if hyperparameter in OF_STABLE_DECAY:
            mode = "stable"
            if mode not in cls.weight_decay_modes:
                continue
        settings = settings_lib.Settings(
            optimizer=name, weight_decay_mode=mode, **{hyperparameter: value}
        )
        optimizer_lib.check(settings)
        made = optimizer_lib.plan(settings, 10).create()
        assert type(made) is cls
        assert made.get_config()[hyperparameter] == value


@pytest.mark.parametrize("name", optimizer_lib.OPTIMIZERS)
def test_flags_that_are_not_given_leave_the_optimizers_defaults(name):
    made = planned(optimizer=name, weight_decay=0.0).create()
    default = optimizer_lib.OPTIMIZERS[name](weight_decay=0.0)
    # Keras numbers the names of optimizers.
    configs = [{**each.get_config(), "name": None} for each in (made, default)]
    assert configs[0] == configs[1]


def test_seed_of_the_run_is_refused_by_no_optimizer():
    for name in optimizer_lib.OPTIMIZERS:
        optimizer_lib.check(settings_lib.Settings(optimizer=name, seed=3))


def test_keras_arguments_arrive():
    given = dict(
        global_clipnorm=0.5,
        use_ema=True,
        ema_momentum=0.9,
        ema_overwrite_frequency=7,
        loss_scale_factor=8.0,
    )
    config = planned(**given).create().get_config()
    assert {name: config[name] for name in given} == given


def test_exclusions_and_multipliers_arrive():
    config = (
        planned(
            exclude_from_weight_decay=("@bias",),
            weight_decay_multiplier=("logits=0.5",),
        )
        .create()
        .get_config()
    )
    assert config["exclude_from_weight_decay"] == ["@bias"]
    assert config["weight_decay_multipliers"] == {"logits": 0.5}


@pytest.mark.parametrize(
    ("optimizer", "flag", "value"),
    [
        ("adams", "momentum", 0.9),
        ("sgd", "beta_1", 0.9),
        ("adam", "partial", 0.25),
        ("adai", "beta_1", 0.9),
        ("adamw", "weight_decay_mode", "l2"),
        ("sgd", "weight_decay_mode", "elementwise"),
        ("sgd", "damping", 1e-3),
        ("adams", "curvature", "fisher"),
        ("adams", "stagger_inverses", False),
        ("adams", "cold_start", True),
        ("kfac", "nesterov", True),
        ("kfac", "weight_decay_mode", "elementwise"),
    ],
)
def test_flag_of_another_optimizer_is_refused(optimizer, flag, value):
    settings = settings_lib.Settings(optimizer=optimizer, **{flag: value})
    with pytest.raises(ValueError) as error:
        optimizer_lib.check(settings)
    assert f"`--{flag}`" in str(error.value)
    assert f"--optimizer={optimizer}" in str(error.value)
    assert f"Received: --{flag}={value}" in str(error.value)


@pytest.mark.parametrize(
    ("optimizer", "mode", "decay"),
    [
        # Xie et al. 2022, Appendix B.1.
        *(
            (name, None, decay)
            for name, (_, decay, _) in published.XIE_RULES.items()
            # Its mode is not stated there; here the default is decoupled.
            if name != "radam"
        ),
        ("radam", None, 0.5),
        ("radam", "l2", 5e-4),
        ("adam", "decoupled", 0.5),
        ("adam", "elementwise", 5e-4),
        # TFA's coefficient is 1e-3 times that of AdamW at a rate of 1e-3.
        ("adam", "independent", 5e-4),
        ("amsgradw", None, 0.5),
        ("amsgrads", None, 5e-4),
        # 5e-4 over a rate of 0.01.
        ("padam", "decoupled", 0.05),
        ("sgd", "decoupled", 5e-3),
        ("sgd", "independent", 5e-4),
        ("adaiw", None, 5e-4),
        ("kfac", None, 5e-3),
        ("kfac", "l2", 5e-4),
    ],
)
def test_weight_decay_has_a_default_per_optimizer(optimizer, mode, decay):
    settings = settings_lib.Settings(
        optimizer=optimizer, weight_decay_mode=mode
    )
    plan = optimizer_lib.plan(settings, 10)
    assert plan.weight_decay == decay
    assert f"--weight_decay={decay}" in flag_lines.lines(settings)
    given = settings.replace(weight_decay=0.125)
    assert optimizer_lib.plan(given, 10).weight_decay == 0.125


def test_scaling_rules_scale_by_the_batch_ratio():
    base = dict(learning_rate=0.1, weight_decay=1e-4, batch_size=512)
    rates = {
        rule: (plan.learning_rate, plan.weight_decay)
        for rule in ("none", "lr", "sqrt_lr", "weight_decay")
        for plan in [planned(scaling_rule=rule, **base)]
    }
    assert rates == {
        "none": (0.1, 1e-4),
        "lr": (0.4, 1e-4),
        "sqrt_lr": (0.2, 1e-4),
        "weight_decay": (0.1, 4e-4),
    }


def test_scaling_rules_scale_by_the_examples_of_an_update():
    whole, parts = (
        planned(learning_rate=0.1, scaling_rule="lr", **sizes)
        for sizes in (
            {"batch_size": 1024},
            {"batch_size": 128, "accumulation_steps": 8},
        )
    )
    assert whole.learning_rate == parts.learning_rate == pytest.approx(0.8)


def test_schedules_count_updates():
    # 49 updates of 391 steps.
    plan = planned(
        steps_per_epoch=391,
        learning_rate=1.0,
        schedule="step",
        decay_epochs=(1,),
        warmup_epochs=0.5,
        accumulation_steps=8,
    )
    assert values(plan.learning_rate, (12, 49, 50)) == pytest.approx(
        # round(24.5) = 24 updates of warm-up.
        [0.5, 1.0, 0.1],
        rel=1e-6,
    )


def test_step_schedule_drops_with_the_first_step_of_the_epoch():
    plan = planned(learning_rate=1.0, schedule="step", decay_epochs=(2, 3))
    assert values(plan.learning_rate, (1, 20, 21, 30, 31)) == pytest.approx(
        [1.0, 1.0, 0.1, 0.1, 0.01], rel=1e-6
    )


def test_cosine_ends_at_the_final_fraction_and_is_halfway_in_the_middle():
    plan = planned(
        learning_rate=2.0, schedule="cosine", epochs=4, final_fraction=0.5
    )
    assert values(plan.learning_rate, (1, 21, 41)) == pytest.approx(
        [2.0, 1.5, 1.0], rel=1e-6
    )


def test_restarts_return_to_the_start_after_14_and_42_epochs():
    plan = planned(learning_rate=1.0, schedule="cosine_restarts", epochs=210)
    assert values(plan.learning_rate, (1, 141, 421, 71)) == pytest.approx(
        [1.0, 1.0, 1.0, 0.5], abs=1e-5
    )


def test_warmup_rises_linearly_to_the_schedule():
    plan = planned(learning_rate=1.0, warmup_epochs=1.0, epochs=2)
    assert values(plan.learning_rate, (5, 10, 11)) == pytest.approx(
        [0.5, 1.0, 1.0]
    )


def test_weight_decay_schedule_is_a_factor_that_starts_at_one():
    plan = planned(
        learning_rate=3.0, weight_decay_schedule="step", decay_epochs=(1,)
    )
    assert values(plan.weight_decay_factor, (10, 11)) == pytest.approx(
        [1.0, 0.1], rel=1e-6
    )
    assert plan.learning_rate == 3.0
    assert isinstance(
        plan.create().weight_decay_schedule,
        keras.optimizers.schedules.LearningRateSchedule,
    )


def test_adabound_measures_its_schedule_against_the_unwarmed_rate():
    plan = planned(optimizer="adabound", learning_rate=0.01, warmup_epochs=1.0)
    assert plan.create().get_config()["initial_learning_rate"] == 0.01


@pytest.mark.parametrize(
    "settings",
    [
        {"learning_rate": 1.0},
        {},
        {"learning_rate": 1.0, "schedule": "step", "decay_epochs": (1,)},
        {"learning_rate": 1.0, "schedule": "cosine", "warmup_epochs": 1.0},
        {"learning_rate": 1.0, "scaling_rule": "lr", "batch_size": 256},
    ],
    ids=str,
)
def test_factor_multiplies_the_rate_of_every_step_and_no_decay(settings):
    whole, halved = (
        optimizer_lib.plan(
            settings_lib.Settings(weight_decay=0.1, epochs=3, **settings),
            10,
            learning_rate_factor=factor,
        )
        for factor in (1.0, 0.5)
    )
    steps = (1, 5, 11, 29)
    halves = [value / 2 for value in values(whole.learning_rate, steps)]
    assert values(halved.learning_rate, steps) == pytest.approx(halves)
    assert halved.weight_decay == whole.weight_decay
    assert halved.weight_decay_factor == whole.weight_decay_factor


def test_adabound_measures_the_halved_rate_against_the_whole_one():
    plan = optimizer_lib.plan(
        settings_lib.Settings(optimizer="adabound", learning_rate=0.01),
        10,
        learning_rate_factor=0.5,
    )
    config = plan.create().get_config()
    assert config["initial_learning_rate"] == 0.01
    assert config["learning_rate"] == pytest.approx(0.005)


def test_unmatched_pattern_is_refused_when_the_optimizer_is_built():
    optimizer = planned(exclude_from_weight_decay=("nothing",)).create()
    with pytest.raises(ValueError, match="nothing"):
        optimizer.build([keras.Variable([1.0], name="kernel")])


def test_every_setting_of_an_optimizer_is_tested():
    known = {field.name for field in fields.of(settings_lib.Settings)}
    assert set(OTHER_VALUES) <= known
