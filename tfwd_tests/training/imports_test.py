"""What a run imports only when it needs it."""

import sys

from tfwd import train
from tfwd.training.runs import run
from tfwd_tests.training import processes

ARGUMENTS = [
    *("--hidden_layers=0", "--train_fraction=0.1", "--epochs=1"),
    "--diagnostics=effective_learning_rate",
]
# The modules that import matplotlib.
DRAWING = {"tfwd.diagnostics.mechanism_plots", "tfwd.training.runs.curves"}


def train_without_drawing(arguments):
    """Exit code 0 if it trained, and what draws was not there until then."""
    seen = []
    draw = run._draw

    def look(job):
        seen.append(DRAWING & sys.modules.keys())
        draw(job)
        seen.append(DRAWING & sys.modules.keys())

    run._draw = look
    code = train.main(arguments)
    return 0 if (code, seen) == (0, [set(), DRAWING]) else 1


def test_what_draws_is_imported_where_a_picture_is_drawn(tmp_path):
    arguments = [*ARGUMENTS, f"--output_dir={tmp_path / 'a'}"]
    log = tmp_path / "log"
    process = processes.start(train_without_drawing, arguments, log=log)
    assert processes.finish(process) == 0, log.read_text()
    for name in ("curves.png", "mechanisms.png"):
        assert (tmp_path / "a" / name).read_bytes().startswith(b"\x89PNG")
