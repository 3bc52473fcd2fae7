"""The benchmark of full-size models runs at its small size."""

import re

import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("The benchmark is TensorFlow's", allow_module_level=True)

from tfwd_tests.benchmarks import full_size
from tfwd_tests.benchmarks import in_memory


def test_benchmark_measures_a_model_in_a_process_of_its_own(capsys):
    full_size.main(["--quick", "--models=lstm"])
    line = capsys.readouterr().out.splitlines()[-1]
    found = re.match(
        r"lstm +adams +4 +\d+ +[\d.]+ +([\d.]+ +){3}([\d.]+)  ([\d.]+) [\d.]+$",
        line,
    )
    assert found
    # GiB: TensorFlow's import takes some 0.5.
    assert 0.1 < float(found[2]) < 4
    # It knows no more than that there are 10,000 words.
    np.testing.assert_allclose(float(found[3]), np.log(10_000), rtol=0.02)


def test_kfac_is_measured_with_and_without_its_work(monkeypatch):
    # The factor of 32 x 32 x 3 inputs would take seconds to invert.
    images = in_memory.random_splits("cifar10", (4, 4, 3), 10, 40)
    monkeypatch.setattr(in_memory, "random_splits", lambda *arguments: images)
    case = full_size.Case("mlp", 10, "kfac", width=1 / 32, batch_size=4)
    measured = full_size.measure(case)
    # 48-4-4-10 with biases.
    assert measured.parameters == 49 * 4 + 5 * 4 + 5 * 10
    assert len(measured.steps) == full_size.STEPS
    assert min(*measured.steps, measured.with_factors) > 0
    assert measured.with_inverses > 0
    assert np.isfinite(measured.losses).all()
    lines = full_size.rows("mlp", case, measured)
    assert lines[1].strip().startswith("a step with factors")


def test_killed_process_is_a_line_of_the_table():
    case = full_size.CASES["resnet18"]
    (line,) = full_size.rows("resnet18", case, None)
    assert line.split()[:2] == ["resnet18", "adams"]
    assert "was killed" in line


def test_random_text_has_the_predictions_of_its_segments():
    source = full_size.random_text(
        num_words=7, num_streams=3, bptt=5, num_segments=4
    )
    assert source.size("train") == 3 * 5 * 4
    assert source.num_classes == 7
    assert source.train.max() < 7


def test_bad_model_is_an_error_that_names_the_flag(capsys):
    with pytest.raises(SystemExit) as exit:
        full_size.main(["--models=vgg16"])
    assert exit.value.code == 2
    assert "`--models` must be of resnet32x4," in capsys.readouterr().err
