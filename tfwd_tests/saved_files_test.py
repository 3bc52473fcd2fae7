"""What an earlier version wrote is read: flags, checkpoints, .keras files.

`saved/README.md` says how the files were made.
"""

import pathlib
import shutil

import keras
import numpy as np
import pytest

import tfwd
from tfwd import train

SAVED = pathlib.Path(__file__).parent / "saved" / "0_1"
RUNS = {"adams": (tfwd.AdamS, 10), "kfac": (tfwd.KFAC, 5)}


@pytest.fixture(params=RUNS)
def run(request):
    return request.param


def test_run_is_gone_on_with(run, tmp_path, capsys):
    folder = tmp_path / run
    shutil.copytree(SAVED / run, folder)
    _, steps = RUNS[run]
    epochs = steps // 5 + 1
    flags = [f"--flagfile={folder / 'flags.txt'}", f"--output_dir={folder}"]
    assert train.main([*flags, f"--epochs={epochs}", "--resume=must"]) == 0
    assert f"step {steps}" in capsys.readouterr().out
    rows = (folder / "metrics.csv").read_text().splitlines()
    before = (SAVED / run / "metrics.csv").read_text().splitlines()
    assert rows[: len(before)] == before and len(rows) == len(before) + 1
    model = keras.saving.load_model(folder / "final.keras", compile=False)
    with np.load(SAVED / f"{run}_went_on.npz") as expected:
        # As near as other machines' order of summation comes to this.
        for weight, name in zip(
            model.get_weights(), expected.files, strict=True
        ):
            np.testing.assert_allclose(weight, expected[name], 1e-4, 1e-5)


def test_model_is_loaded_with_its_optimizer(run):
    optimizer_class, steps = RUNS[run]
    model = keras.saving.load_model(SAVED / run / "final.keras")
    assert type(model.optimizer) is optimizer_class
    assert int(model.optimizer.iterations) == steps
    assert np.isfinite(model.predict(np.zeros((2, 8, 8, 1)), verbose=0)).all()
    if run == "kfac":
        model.optimizer.attach(model)
