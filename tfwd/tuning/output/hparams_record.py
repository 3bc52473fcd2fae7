"""What a search tells TensorBoard's HParams plugin, with --tensorboard."""

from tfwd.training.runs import logs
from tfwd.training.runs import run_files
from tfwd.tuning.output import hparams
from tfwd.tuning.values import dimension

FOLDER = "tensorboard"


def begin(plan, folder):
    """Writes what is searched, once.

    Args:
        plan: A `plan.Plan`.
        folder: The `pathlib.Path` of the search.
    """
    choices, intervals = {}, {}
    for each in plan.space.dimensions:
        if plan.cells is not None:
            choices[each.name] = each.points()
        elif isinstance(each, dimension.Range):
            intervals[each.name] = each.ends
        else:
            choices[each.name] = each.values
    hparams.write_experiment(
        folder / FOLDER, plan.objective, choices, intervals
    )


def ended(plan, folder, trial_id, values, outcomes):
    """Writes the runs of a trial that has ended.

    Args:
        plan: A `plan.Plan`.
        folder: The `pathlib.Path` of the search.
        trial_id: The trial's.
        values: {searched or linked name: value}.
        outcomes: {seed: `Outcome`}.
    """
    for seed, outcome in outcomes.items():
        run = folder / f"trial_{trial_id}" / f"seed_{seed}"
        path = run_files.Files(run).metrics
        hparams.write_run(
            folder / FOLDER,
            trial_id,
            seed,
            values,
            logs.read(path) if path.exists() else [],
            plan.objective,
            outcome.status,
        )
