"""The benchmark of K-FAC runs at its small size and prints its rows."""

import re
import sys

import keras
import numpy as np
import pytest

if keras.backend.backend() not in ("tensorflow", "jax"):
    pytest.skip("K-FAC is TensorFlow's and JAX's", allow_module_level=True)

from tfwd_tests.benchmarks import kfac
from tfwd_tests.benchmarks import kfac_steps

STEP_ROWS = [
    "plain step",
    "plain step, plain path",
    "with factors",
    "with factors and inverses",
    "amortised",
]
NUMBERS = r" +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+-[\d.]+"

# Takes no steps, but speaks as the real one does.
PEER = """
import json, sys
print(json.dumps({"jax": "0.0"}), flush=True)
for line in sys.stdin:
    print(json.dumps({line.strip(): 0.0}), flush=True)
print(json.dumps({"medians": {}}), flush=True)
"""


def rows(lines):
    found = [re.match(f"([a-z, ]+?){NUMBERS}", line) for line in lines]
    return [match[1] for match in found if match]


@pytest.mark.parametrize("model", tuple(kfac_steps.MODELS))
def test_benchmark_prints_a_row_for_each_kind_of_step(model, capsys):
    kfac.main(
        ["--quick", "--repeats=1", "--batch_sizes=4", f"--models={model}"]
    )
    lines = capsys.readouterr().out.splitlines()
    assert rows(lines) == STEP_ROWS
    number = r"[\d.]+"
    last = [
        f"inverse step: {number} ms",
        f"state: {number} times the parameters",
        f"staggered: longest step {number} ms of 100",
    ]
    for line, pattern in zip(lines[-3:], last, strict=True):
        assert re.match(pattern, line)


def test_benchmark_compares_with_a_peer(capsys, monkeypatch, tmp_path):
    script = tmp_path / "kfac_jax_peer.py"
    script.write_text(PEER)
    monkeypatch.setattr(kfac, "__file__", str(tmp_path / "kfac.py"))
    kfac.main(
        [
            "--quick",
            "--repeats=1",
            "--batch_sizes=4",
            "--models=mlp",
            f"--peer={sys.executable}",
        ]
    )
    lines = capsys.readouterr().out.splitlines()
    against = ["plain", "factor", "inverse", "amortised"]
    assert rows(lines) == STEP_ROWS + against


def test_amortised_step_is_the_mean_over_a_period():
    due = [
        "inverse" if number % 100 == 0 else "factor" if number % 10 == 0 else ""
        for number in range(100)
    ]
    costs = {"": 1.0, "factor": 20.0, "inverse": 300.0}
    expected = np.mean([costs[kind] for kind in due])
    np.testing.assert_allclose(
        kfac.amortized(costs[""], costs["factor"], costs["inverse"]), expected
    )


def test_models_are_those_of_the_peers_table():
    # 1.42 and 0.13 million.
    assert (
        kfac_steps.MODELS["mlp"](quick=False).count_params()
        == 1_416_800 + 1_790
    )
    assert kfac_steps.MODELS["conv"](quick=False).count_params() == 131_466


@pytest.mark.parametrize(
    ("argument", "rule"),
    (
        ("--repeats=0", "`--repeats` must be at least 1"),
        ("--batch_sizes=128,x", "`--batch_sizes` must be positive integers"),
        ("--models=vgg", "`--models` must be of mlp,conv"),
    ),
)
def test_bad_argument_is_an_error_that_names_the_flag(argument, rule, capsys):
    with pytest.raises(SystemExit) as exit:
        kfac.main([argument])
    assert exit.value.code == 2
    assert rule in capsys.readouterr().err
