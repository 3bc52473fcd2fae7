"""Where a search stands, in one line: the trial, the best, the time left."""

from tfwd.training.runs import pace
from tfwd.tuning.output import wording


def text(
    trial,
    trials,
    steps_done,
    steps_in_all,
    seconds,
    best,
    *,
    objective,
    is_bound=False,
):
    """Says where a search stands.

    Args:
        trial: Number of the trial, from 1.
        trials: How many there will be.
        steps_done: Training steps that this process has done, of all trials.
        steps_in_all: Those and the ones that are left to it. What a search
            that goes on has found done is in neither.
        seconds: How long the steps took that are done, with all that there
            was besides.
        best: The best `results.Cell`, None before one has completed.
        objective: An `objective.Objective`.
        is_bound: Whether trials may end early, as pruned ones do, so that the
            time left is the most that it may take.

    Returns:
        A line of text, without the time left where nothing was measured yet or
        nothing is left.
    """
    parts = [f"trial {trial:,} of {trials:,}", _best(best, objective)]
    if steps_done and seconds and steps_in_all > steps_done:
        left = seconds / steps_done * (steps_in_all - steps_done)
        about = "at most" if is_bound else "about"
        parts.append(f"{about} {pace.duration(left)} left")
    return ", ".join(parts)


def _best(best, objective):
    if best is None:
        return "none completed yet"
    value = wording.of_objective(best.mean)
    return f"best {objective.name} {value} ({wording.of_values(best.values)})"
