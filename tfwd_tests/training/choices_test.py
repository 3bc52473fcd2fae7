"""The names of the flags are those of the rooms."""

from tfwd import data
from tfwd import models
from tfwd.diagnostics import mechanisms
from tfwd.diagnostics.scale_invariance import decay_scope
from tfwd.models import conventions
from tfwd.training.config import choices
from tfwd.training.setup import optimization


def test_names_are_those_of_the_rooms():
    assert choices.DATASETS == data.NAMES
    assert choices.MODELS == models.NAMES
    assert choices.CONVENTIONS == tuple(conventions.CONVENTIONS)
    assert choices.OPTIMIZERS == tuple(optimization.OPTIMIZERS)
    assert choices.DECAY_SCOPES == decay_scope.SCOPES
    assert choices.DIAGNOSTICS == mechanisms.NAMES
    assert choices.DEFAULT_DIAGNOSTICS == mechanisms.DEFAULT


def test_tasks_are_those_of_the_models():
    for name in models.NAMES:
        assert choices.task(name) == models.task(name)
