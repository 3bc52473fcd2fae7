"""The end of a search: the best cell, retrained and tested, and the report."""

BEST = "best"


def conclude(plan, folder, rows, tuner):
    """Retrains the best cell, and writes and prints what was found.

    Args:
        plan: A `plan.Plan`.
        folder: The `pathlib.Path` of the search.
        rows: Those of trials.csv.
        tuner: The `tuner.Tuner`.

    Returns:
        The exit code: 0, or 2 where no cell was completed.

    Raises:
        Stopped: A signal came while the best cell was trained.
        OSError: A disk fails.
    """
