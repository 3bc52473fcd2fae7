"""Small searches of the binary on digits, and what they leave behind."""

from tfwd import tune
from tfwd.tuning.output import trials

# 13 steps in each of two epochs.
SMALL = [
    *("--hidden_units=16", "--train_fraction=0.3", "--batch_size=32"),
    *("--num_validation=150", "--epochs=2"),
]
GRID = [
    "--search=learning_rate=log:1e-3:1e-2:2",
    "--search=weight_decay=choice:1e-4,1e-3",
]
_TIMING = ("seconds",)


def search(folder, *arguments):
    """Runs the binary in this process; returns its exit code."""
    return tune.main([*SMALL, *arguments, f"--output_dir={folder}"])


def rows(folder):
    """The rows of trials.csv, without their times."""
    return [
        {name: value for name, value in row.items() if name not in _TIMING}
        for row in trials.read(folder / "trials.csv")
    ]
