"""The benchmark runs at its small size, and AdamS holds no second model."""

import collections
import csv
import re

import numpy as np
import pytest

from tfwd_tests.benchmarks import compiled
from tfwd_tests.benchmarks import optimizers
from tfwd_tests.benchmarks import timing


@pytest.mark.full
def test_benchmark_prints_and_writes_a_row_for_each_pair(capsys, tmp_path):
    path = tmp_path / "optimizers.csv"
    optimizers.main(["--quick", "--repeats=2", f"--csv={path}"])
    lines = capsys.readouterr().out.splitlines()

    row = re.compile(
        r"(\S.* / keras \w+) +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+-[\d.]+"
    )
    printed = [found[1] for found in map(row.match, lines) if found]
    pairs = (
        optimizers.BARE_PAIRS
        + optimizers.TRAIN_PAIRS
        + optimizers.EMBEDDING_PAIRS
    ) * len(compiled.WAYS)
    assert printed == [f"{ours} / {theirs}" for ours, theirs, _ in pairs]
    with path.open() as file:
        written = list(csv.DictReader(file))
    assert [each["pair"] for each in written] == printed
    assert all(compiled.BACKEND in each["device"] for each in written)
    errors = [
        float(line.rpartition(" ")[2])
        for line in lines
        if line.startswith("global mean")
    ]
    assert len(errors) == 2 * len(compiled.WAYS)
    # Two thousand elements: a few roundings of float32.
    assert np.abs(errors).max() < 1e-6


def test_row_holds_the_median_of_the_ratios_of_neighbours():
    # A pause of the machine that hits one pair moves the medians only.
    seconds = np.array([[0.1, 0.2], [0.2, 0.2], [3.0, 2.0]])
    assert timing.row("a / b", seconds, 1.25).split() == (
        "a / b 200.00 200.00 1.000 0.750-1.250 <= 1.25".split()
    )


def test_adams_holds_no_more_than_keras_adamw_plus_scalars():
    variables = optimizers.make_variables(side=4)
    ours, theirs = (
        collections.Counter(optimizers.state_shapes(name, variables))
        for name in ("AdamS", "keras AdamW")
    )
    assert (4, 4) in theirs
    assert set(ours - theirs) <= {()}


def test_bad_repeats_is_an_error_that_names_the_flag(capsys):
    with pytest.raises(SystemExit) as exit:
        optimizers.main(["--repeats=0"])
    assert exit.value.code == 2
    assert "`--repeats` must be at least 1" in capsys.readouterr().err
