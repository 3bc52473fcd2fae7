"""Runs share a data set, which is loaded when it is another one."""

from tfwd.training.config import settings as settings_lib
from tfwd.tuning.runs import sources
from tfwd_tests.tuning import command_lines
from tfwd_tests.tuning import plans


def _settings(**flags):
    return settings_lib.Settings(**command_lines.flags(**flags).values)


def test_runs_of_one_data_set_load_it_once(monkeypatch):
    loads, of_search = plans.count_loads(monkeypatch), sources.Sources()
    one = of_search.of(_settings(learning_rate=0.1))
    assert of_search.of(_settings(learning_rate=0.2, seed=3)) is one
    assert loads == [1.0]


def test_a_run_of_other_data_gets_them(monkeypatch):
    loads, of_search = plans.count_loads(monkeypatch), sources.Sources()
    for fraction in (1.0, 0.5, 1.0):
        found = of_search.of(_settings(train_fraction=fraction))
        assert found.examples == 1000 * fraction
    assert loads == [1.0, 0.5, 1.0]


def test_every_flag_of_the_data_counts():
    plain = _settings(dataset="mnist")
    for flags in (
        {"dataset": "cifar10"},
        {"data_dir": "data"},
        {"num_validation": 7},
        {"train_fraction": 0.5},
    ):
        other = plain.replace(**flags)
        assert sources.flags_of(other) != sources.flags_of(plain)


def test_steps_are_remembered_without_the_data(monkeypatch):
    loads, of_search = plans.count_loads(monkeypatch), sources.Sources()
    for _ in range(3):
        for fraction, size in ((1.0, 10), (0.5, 10), (0.5, 20)):
            settings = _settings(train_fraction=fraction, batch_size=size)
            steps = 1000 * fraction // size
            assert of_search.training_steps(settings) == steps
    assert loads == [1.0, 0.5]
