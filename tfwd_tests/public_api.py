"""Every public constructor and function, with arguments that work.

The names are found, not listed: one that is new stands in no row of `ROWS`
until somebody writes it, and the test of coverage fails.
"""

import dataclasses
import inspect
import json
import pathlib
import tempfile
import typing

import keras
import numpy as np

import tfwd

BACKEND = keras.backend.backend()
HAS_CURVATURE = BACKEND in ("tensorflow", "jax")
# Its runs are TensorFlow's.
HAS_SEARCH = BACKEND == "tensorflow"

# What the library fills in by itself, or checks other arguments with.
NOT_CALLED_WITH_ARGUMENTS = frozenset(
    """WeightDecayLogger
    diagnostics.Mean diagnostics.scale_invariance.confirm
    diagnostics.mechanisms.check_names diagnostics.mechanisms.check_projections
    diagnostics.scale_invariance.ScaleInvariance
    diagnostics.weight_layers.WeightLayer diagnostics.table.File
    diagnostics.table.as_csv diagnostics.table.as_text diagnostics.table.cost
    diagnostics.table.read diagnostics.table.row
    schedules.cosine schedules.cosine_restarts""".split()
)
# Likewise of the search; its files and KerasTuner's hyperparameters are read
# elsewhere.
NOT_CALLED_OF_TUNING = frozenset(
    """tuning.coordinates.from_rate tuning.coordinates.from_timescale
    tuning.coordinates.has_timescale tuning.coordinates.rate_of_unit_decay
    tuning.grid.Grid tuning.links.Pair tuning.links.Shares tuning.maps.Finding
    tuning.maps.as_text tuning.trials.read tuning.trials.value""".split()
)


# Those that are not of the face as well.
CALLBACKS = ("DecayScopeSwitch", "MechanismLogger", "WeightNormTransfer")


@dataclasses.dataclass(frozen=True)
class Row:
    """A public name, arguments that work, and what "works" means.

    Attributes:
        function: What is called.
        good: {argument: value}, of every argument.
        check: Asserts of a result that it is one.
        is_costly: Whether a call that works takes a second, or the memory
            that its numbers ask for.
        as_they_are: Arguments that are an object of their own kind, or many,
            and not looked at before they are used.
    """

    function: typing.Callable
    good: dict
    check: typing.Callable = lambda result: None
    is_costly: bool = False
    as_they_are: frozenset = frozenset()


def _is_public(value):
    return inspect.isclass(value) or inspect.isfunction(value)


def _of_module(path, module):
    return {
        f"{path}.{name}"
        for name, value in vars(module).items()
        if _is_public(value)
        and not name.startswith("_")
        # Of a package that of one of its modules.
        and f"{value.__module__}.".startswith(f"{module.__name__}.")
    }


def names():
    """Returns the public names of the backend that runs."""
    found = {n for n in tfwd.__all__ if _is_public(getattr(tfwd, n))}
    found |= {"decay_exclusions", "layerwise"} if HAS_CURVATURE else set()
    for name in ("schedules", "scaling"):
        found |= _of_module(name, getattr(tfwd, name))
    found |= {
        f"models.{name}"
        for name in tfwd.models.__all__
        if _is_public(getattr(tfwd.models, name))
    }
    if HAS_CURVATURE:
        for name in tfwd.diagnostics.__all__:
            value = getattr(tfwd.diagnostics, name)
            path = f"diagnostics.{name}"
            if inspect.ismodule(value):
                found |= _of_module(path, value)
            else:
                found.add(path)
        found |= {f"callbacks.{name}" for name in CALLBACKS}
    if HAS_SEARCH:
        for name in tfwd.tuning.__all__:
            value, path = getattr(tfwd.tuning, name), f"tuning.{name}"
            is_module = inspect.ismodule(value)
            found |= _of_module(path, value) if is_module else {path}
    return found


def defaults(function):
    parameters = inspect.signature(function).parameters.values()
    return {
        p.name: None if p.default is p.empty else p.default
        for p in parameters
        if p.kind is not p.VAR_KEYWORD
    }


def _saved_again(optimizer):
    """Asserts that the config is JSON and makes the same optimizer."""
    config = json.loads(json.dumps(keras.optimizers.serialize(optimizer)))
    again = keras.optimizers.deserialize(config)
    assert again.get_config() == optimizer.get_config()


def _trains(optimizer):
    """Asserts that a step leaves finite weights, or is counted as skipped."""
    weights = np.float32([[0.5, -0.25], [1.0, 2.0]])
    variable = keras.Variable(weights, name="kernel")
    gradient = keras.ops.convert_to_tensor(weights[::-1].copy())
    optimizer.build([variable])
    for _ in range(2):
        optimizer.apply([gradient], [variable])
    _saved_again(optimizer)
    skipped = keras.ops.convert_to_numpy(optimizer.skipped_steps)
    now = keras.ops.convert_to_numpy(variable)
    assert skipped or np.isfinite(now).all(), now


def _is_schedule(schedule):
    config = json.loads(
        json.dumps(keras.saving.serialize_keras_object(schedule))
    )
    again = keras.saving.deserialize_keras_object(config)
    for step in (0, 1, 1000):
        value = float(keras.ops.convert_to_numpy(schedule(step)))
        assert np.isfinite(value) and value >= 0
        assert value == float(keras.ops.convert_to_numpy(again(step)))


def _is_number(value):
    assert type(value) is float and value >= 0


def _is_model(model):
    assert isinstance(model, keras.Model)
    json.loads(model.to_json())


def _optimizer_rows():
    policy = {
        "weight_decay_mode": None,
        "weight_decay_schedule": None,
        "weight_decay_multipliers": None,
        "learning_rate_multipliers": None,
        "exclude_from_weight_decay": (),
        "skip_nonfinite": True,
        "clipnorm": None,
        "clipvalue": None,
        "global_clipnorm": None,
        "use_ema": False,
        "ema_momentum": 0.5,
        "ema_overwrite_frequency": None,
        "loss_scale_factor": None,
        "gradient_accumulation_steps": None,
        "name": None,
    }
    rows = {
        cls.__name__: Row(cls, defaults(cls) | policy, _trains)
        for cls in tfwd.optimizers.OPTIMIZERS.values()
    }
    check = _saved_again
    rows["KFAC"] = Row(tfwd.KFAC, defaults(tfwd.KFAC) | policy, check)
    return rows


def _plain_rows():
    scaling, schedules, n = tfwd.scaling, tfwd.schedules, 2.0
    rows = {
        f"scaling.{name}": Row(function, dict.fromkeys(defaults(function), n))
        for name, function in vars(scaling).items()
        if inspect.isfunction(function) and not name.startswith("_")
    }
    rows["scaling.decoupled_from_stable"] = Row(
        scaling.decoupled_from_stable,
        {"weight_decay": 0.5, "momentum": 0.5, "dampening": 0.5},
    )
    rows = {
        name: dataclasses.replace(row, check=_is_number)
        for name, row in rows.items()
    }
    rows["OvershootWarning"] = Row(tfwd.OvershootWarning, {"tell": print})
    rows["SkippedSteps"] = Row(tfwd.SkippedSteps, {"stop_after": 2})
    for function, good in (
        (schedules.step_decay, (0.5, 3, (2, 4), 0.5)),
        (schedules.Warmup, (0.5, 3, "warmup")),
    ):
        arguments = dict(zip(defaults(function), good, strict=True))
        name = f"schedules.{function.__name__}"
        rows[name] = Row(function, arguments, _is_schedule)
    build = tfwd.models.build
    small = {"name": "mlp", "input_shape": (2, 2, 1), "num_classes": 2}
    rows["models.build"] = Row(
        build, defaults(build) | small, _is_model, is_costly=True
    )
    rows["models.task"] = Row(tfwd.models.task, {"name": "lstm"})
    return rows


def _model():
    model = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(3), keras.layers.Dense(2)]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(tfwd.KFAC(), loss)
    return model, loss


def _curvature_rows():
    model, loss = _model()
    rows = {}
    data = np.float32([[0.5, 1.0], [2.0, 3.0]]), np.int32([0, 1])
    folder = pathlib.Path(tempfile.gettempdir())
    known = {
        "model": model,
        "loss": loss,
        "scope": "final",
        "damping": 0.5,
        "learning_rate": 0.5,
        "weight_decay": 0.5,
        "kernel": np.eye(2),
        "trace": 2.0,
        "size": 4,
        "data": data,
        "train_data": data,
        "test_data": data,
        "batch_size": 2,
        "first_epoch": 1,
        "norms": {},
        "path": folder,
        "hessian": np.eye(2),
        "optimum": np.ones(2),
        "start": np.ones(2),
        "learning_rates": np.ones(3),
        "eigenvalues": np.ones(2),
        "mode": "stable",
        "second_moment": np.ones(2),
    }
    for path in names():
        if path.startswith(("callbacks.", "diagnostics.")):
            function = tfwd
            for part in path.split("."):
                function = getattr(function, part)
            rows[path] = Row(function, {}, is_costly="data" in path)
    rows["decay_exclusions"] = Row(tfwd.decay_exclusions, {})
    rows["layerwise"] = Row(tfwd.layerwise, {})
    rows["attach"] = Row(tfwd.attach, {})
    rows["KFAC.attach"] = Row(model.optimizer.attach, {})
    for path, row in rows.items():
        if path in NOT_CALLED_WITH_ARGUMENTS:
            continue
        good = defaults(row.function)
        # Of batch normalization there, elsewhere of the weight decay.
        own = {"mode"} if good.get("mode") else set()
        good |= {n: known[n] for n in good if n in known and n not in own}
        rows[path] = Row(row.function, good, is_costly="batch_size" in good)
    return {
        path: row
        for path, row in rows.items()
        if path not in NOT_CALLED_WITH_ARGUMENTS
    }


def _tuning_rows():
    import keras_tuner

    tuning = tfwd.tuning
    trials = [
        {
            "learning_rate": rate,
            "weight_decay": decay,
            "seed": seed,
            # Best in the middle, where no edge is warned of.
            "objective": abs(rate - 0.2) + abs(decay - 0.2) + 0.1 * seed,
            "status": "completed",
        }
        for rate in (0.1, 0.2, 0.4)
        for decay in (0.1, 0.2, 0.4)
        for seed in (0, 1)
    ]
    axes = {"x": "learning_rate", "y": "weight_decay"}
    known = {
        "optimizer": {"hp": keras_tuner.HyperParameters()},
        "hypermodel": {
            "settings": tfwd.training.Settings(),
            "space": {"learning_rate": "log:1e-4:1e-1"},
        },
        "grid.from_trials": {"trials": trials, **axes},
        "maps.findings": {
            "grid": tuning.grid.from_trials(trials, **axes),
            "default": 0.2,
            "resamples": 2,
        },
        "links.resolve": {"links": {"a": "b * 2"}, "values": {"b": 2.0}},
        # It speaks of the text by the name of the value.
        "links.parse": {"name": "text", "text": "b * 2"},
    }
    as_they_are = {"hp", "grid", "trials", "links", "values", "name", "x", "y"}
    as_they_are |= {"space", "thresholds", "above_best", "whole"}
    checks = {
        "optimizer": _saved_again,
        "maps.findings": tuning.maps.as_text,
        "grid.from_trials": lambda grid: grid.check_has_no_holes(),
    }
    rows = {}
    for path, good in known.items():
        function = tuning
        for part in path.split("."):
            function = getattr(function, part)
        rows[f"tuning.{path}"] = Row(
            function,
            defaults(function) | good,
            checks.get(path, lambda result: None),
            # Of which 2**31 would be drawn.
            is_costly=path == "maps.findings",
            as_they_are=frozenset(as_they_are & set(defaults(function))),
        )
    return rows


def rows():
    """Returns {name: Row} for the backend that runs."""
    found = _optimizer_rows() | _plain_rows()
    found |= _curvature_rows() if HAS_CURVATURE else {}
    return found | (_tuning_rows() if HAS_SEARCH else {})
