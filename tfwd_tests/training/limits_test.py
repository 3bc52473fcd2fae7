"""Sizes beyond the machine: refused by what they need at the least."""

import keras
import pytest

from tfwd import models
from tfwd.training.config import settings as settings_lib
from tfwd.training.setup import limits


@pytest.mark.parametrize(
    ("flags", "shape", "classes"),
    [
        ({"model": "mlp"}, (8, 8, 1), 10),
        ({"model": "mlp", "width": 0.5, "hidden_layers": 4}, (8, 8, 1), 10),
        ({"model": "mlp", "hidden_layers": 1}, (28, 28, 1), 10),
        (
            {"model": "lstm", "dataset": "ptb", "hidden_units": 64},
            (None,),
            500,
        ),
        ({"model": "vgg11", "dataset": "cifar10"}, (32, 32, 3), 10),
        ({"model": "resnet20", "dataset": "cifar10"}, (32, 32, 3), 10),
        (
            {"model": "resnet20", "dataset": "cifar10", "width": 2.0},
            (32, 32, 3),
            10,
        ),
    ],
    ids=str,
)
def test_parameters_are_estimated_to_a_tenth(flags, shape, classes):
    settings = settings_lib.Settings(**flags)
    model = models.build(
        settings.model.model,
        shape,
        classes,
        width=settings.model.width,
        hidden_layers=settings.model.hidden_layers,
        hidden_units=settings.model.hidden_units,
    )
    found = limits.parameters(settings.model, shape, classes)
    assert found == pytest.approx(model.count_params(), rel=0.1)


def test_every_model_has_an_estimate():
    for name in models.NAMES:
        is_text = name == "lstm"
        settings = settings_lib.Settings(
            model=name, dataset="ptb" if is_text else "cifar10"
        )
        assert limits.parameters(settings.model, (32, 32, 3), 10) > 1e5


def test_memory_is_that_of_the_machine():
    with open("/proc/meminfo") as file:
        (line,) = [line for line in file if line.startswith("MemTotal")]
    # Bytes; the kernel counts in KiB.
    assert limits.memory() == pytest.approx(
        1024 * int(line.split()[1]), rel=0.05
    )


def test_model_is_refused_from_three_times_its_parameters_on(monkeypatch):
    # 64·1000 + 1000² + 10·1000 parameters of 4 bytes, with gradient and moment.
    needed = 3 * 4 * 1_074_000
    settings = settings_lib.Settings(hidden_units=1000)
    monkeypatch.setattr(limits, "memory", lambda: needed)
    limits.check_model(settings.model, (8, 8, 1), 10)
    monkeypatch.setattr(limits, "memory", lambda: needed - 1)
    with pytest.raises(ValueError, match="`--hidden_units` must .* memory"):
        limits.check_model(settings.model, (8, 8, 1), 10)


def test_batch_is_refused_from_its_largest_activation_on(monkeypatch):
    inputs = keras.Input((4, 4, 3))
    # 4·4·20 numbers per example are the most.
    x = keras.layers.Conv2D(20, 3, padding="same")(inputs)
    model = keras.Model(inputs, keras.layers.Flatten()(x))
    settings = settings_lib.Settings(
        dataset="cifar10", model="vgg11", batch_size=50, eval_batch_size=10
    )
    monkeypatch.setattr(limits, "memory", lambda: 50 * 320 * 4)
    limits.check_batches(settings, model)
    monkeypatch.setattr(limits, "memory", lambda: 50 * 320 * 4 - 1)
    with pytest.raises(ValueError, match="`--batch_size` must .* memory"):
        limits.check_batches(settings, model)
    # Two processes have half of it each.
    limits.check_batches(settings, model, workers=2)
    monkeypatch.setattr(limits, "memory", lambda: 10 * 320 * 4 - 1)
    evaluated = settings_lib.Settings(
        mode="eval",
        model_file="a.keras",
        dataset="cifar10",
        eval_batch_size=10,
    )
    with pytest.raises(ValueError, match="`--eval_batch_size` must"):
        limits.check_batches(evaluated, model)
