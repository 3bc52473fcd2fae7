"""The benchmark runs at its small size, and both sides do the same work."""

import re

import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("The benchmark is TensorFlow's", allow_module_level=True)

from tfwd.training.config import settings as settings_lib
from tfwd_tests.benchmarks import in_memory
from tfwd_tests.benchmarks import training


def test_benchmark_prints_a_row_for_each_pair_and_the_input_pipeline(capsys):
    training.main(
        ["--quick", "--repeats=1", "--cases=digits", "--optimizers=sgds"]
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("mlp on digits, sgds")
    row = re.compile(r"(.+?) +\d+ +\d+ +[\d.]+ +[\d.]+-[\d.]+( +>= 1.0)?$")
    matches = [row.match(line) for line in lines]
    assert [(found[1], bool(found[2])) for found in matches if found] == [
        (f"{ours} / {theirs}", aim is not None)
        for ours, theirs, aim in training.PAIRS
    ]
    assert re.match(r"input pipeline by itself: \d+ examples/s", lines[-1])


def test_loop_and_fit_take_the_same_steps():
    # 10 examples are batches of 4, 4 and 2.
    source = in_memory.random_splits("mnist", (3, 3, 1), 2, 10)
    settings = settings_lib.Settings(
        dataset="mnist", model="mlp", width=1 / 64, batch_size=4
    )
    loop, arrays, dataset = (
        in_memory.make_training(settings, source) for _ in range(3)
    )
    for train in (
        training.looped(loop, epochs=2),
        training.fitted(arrays, 2, is_tf_data=False, jit_compile=False),
        training.fitted(dataset, 2, is_tf_data=True, jit_compile=False),
    ):
        train()
        train()
    for each in (loop, arrays, dataset):
        assert int(each.optimizer.iterations) == 2 * 2 * 3
    assert loop.progress.epoch == 4


def test_row_holds_the_median_of_the_ratios_of_neighbours():
    # A pause of the machine that hits one pair moves the medians only.
    speeds = np.array([[100.0, 200.0], [200.0, 200.0], [3000.0, 2000.0]])
    assert training.row("a / b", speeds, 1.0).split() == (
        "a / b 200 200 1.000 0.750-1.250 >= 1.0".split()
    )


@pytest.mark.parametrize(
    ("argument", "rule"),
    (
        ("--repeats=0", "`--repeats` must be at least 1"),
        ("--cases=svhn", "`--cases` must be of digits,mnist,cifar10"),
        ("--optimizers=kfac", "`--optimizers` must be of "),
    ),
)
def test_bad_argument_is_an_error_that_names_the_flag(argument, rule, capsys):
    with pytest.raises(SystemExit) as exit:
        training.main([argument])
    assert exit.value.code == 2
    assert rule in capsys.readouterr().err
