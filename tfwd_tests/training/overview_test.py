"""What a run says before it starts, in between, and of its table.

Covers `pace` and `progress_bar`.
"""

import datetime
import math

import pytest

from tfwd import train
from tfwd.training.config import flagfile
from tfwd.training.runs import job as job_lib
from tfwd.training.runs import overview
from tfwd.training.runs import pace

TINY = [
    *("--hidden_units=4", "--hidden_layers=1", "--train_fraction=0.1"),
    "--batch_size=64",
]


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def lines(*arguments):
    """{name: text} of a run's overview."""
    job = job_lib.prepare(flagfile.parse([*TINY, *arguments]))
    text = overview.text(job, 1234.5)
    return {
        name: rest.strip()
        for name, _, rest in (each.partition(":") for each in text.splitlines())
    }


def test_overview_has_the_numbers_of_the_run():
    found = lines("--num_validation=100", "--epochs=2")
    # 64 * 4 of the hidden layer; shift, mean and variance of its norm, which
    # has no scale here; 4 * 10 + 10 of the logits.
    assert found["Model"] == (
        "mlp, 318 parameters, 310 of them trained, in float32"
    )
    assert found["Data"] == (
        "digits, 134 train, 100 validation, 360 test examples"
    )
    assert found["Devices"].startswith("1 replica (--strategy=default), ")
    assert found["Optimizer"] == "adams, learning rate 0.001"
    assert found["Weight decay"] == "0.0005 (stable), on 4 of 4 variables"
    assert found["Steps"] == "3 in each of 2 epochs, of 64 examples"
    assert found["Input pipeline"] == "1,234 examples/s by itself"


def test_overview_counts_the_updates_of_accumulated_steps():
    # Of 3 steps, the updates of 2 and of the 1 that is left; a cosine's last
    # of 4 updates in all is at 3/4 of its way.
    found = lines("--accumulation_steps=2", "--epochs=2", "--schedule=cosine")
    assert found["Steps"].endswith("64 examples; 2 updates in each epoch")
    last = 0.001 * (1 + math.cos(math.pi * 3 / 4)) / 2
    assert found["Optimizer"].endswith(f"0.001 at first, {last:.3g} at last")


def test_overview_says_what_decays_and_how_the_rates_change():
    found = lines(
        *("--optimizer=sgdw", "--learning_rate=0.2", "--weight_decay=0.01"),
        *("--exclude_from_weight_decay=@bias", "--epochs=2"),
        *("--weight_decay_multiplier=logits=0.5", "--schedule=step"),
        *("--decay_epochs=1", "--weight_decay_schedule=step"),
    )
    assert found["Optimizer"] == (
        "sgdw, learning rate 0.2 at first, 0.02 at last"
    )
    assert found["Weight decay"] == (
        "0.01 (decoupled) at first, on 2 of 4 variables, 1 of them by a "
        "multiple"
    )


def test_overview_counts_the_replicas():
    found = lines("--strategy=mirrored", "--num_devices=2")
    assert found["Devices"].startswith("2 replicas (--strategy=mirrored), 2 ")


@pytest.mark.parametrize(
    ("seconds", "epochs", "expected"),
    [
        (
            *(1.5, 4),
            "An epoch takes about 1.5 s; the 4 left end in about 6 s, 12:00",
        ),
        (
            *(0.25, 1),
            "An epoch takes about 0.25 s; the last one ends in about 0.25 s, "
            "12:00",
        ),
        (
            *(90, 30),
            "An epoch takes about 90 s; the 30 left end in about 45 min, 12:45",
        ),
        (
            *(7200, 9),
            "An epoch takes about 2.0 h; the 9 left end in about 18.0 h, "
            "2026-01-03 06:00",
        ),
    ],
)
def test_pace_tells_when_the_run_ends(seconds, epochs, expected):
    noon = datetime.datetime(2026, 1, 2, 12, 0)
    assert pace.text(seconds, epochs, noon) == expected


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], "with running batch statistics;"),
        (["--nobatch_norm"], "final model;"),
        (
            ["--use_ema", "--nobatch_norm"],
            "with moving averages of the weights; the lines above are of each "
            "epoch, train_loss as the mean over its steps and without the "
            "moving averages",
        ),
    ],
)
def test_run_says_once_when_it_ends_and_what_its_table_is_of(
    capsys, more, said
):
    assert train.main([*TINY, "--epochs=3", "--output_dir=a", *more]) == 0
    out = capsys.readouterr().out.splitlines()
    (pace_line,) = [x for x in out if "An epoch takes about" in x]
    assert "the 2 left end" in pace_line
    assert out.index("Epoch 2/3") == out.index(pace_line) + 1
    (note,) = [each for each in out if "The table is of" in each]
    assert said in note
    assert out[out.index(note) + 1].split() == ["loss", "accuracy"]
