"""A search from its flags to its report."""

import keras_tuner

from tfwd.training.config import rules
from tfwd.training.config import usage
from tfwd.training.runs import command
from tfwd.tuning import conclusion
from tfwd.tuning import estimate
from tfwd.tuning import plan as plan_lib
from tfwd.tuning import record
from tfwd.tuning import search_folder
from tfwd.tuning.engine import oracles
from tfwd.tuning.engine import roles
from tfwd.tuning.engine import stopped
from tfwd.tuning.engine import tuner as tuner_lib
from tfwd.tuning.engine import worker
from tfwd.tuning.runs import runner
from tfwd.tuning.runs import training_run

# Of a round of Hyperband one trial in so many goes on.
_FACTOR = 3
# Trials of KerasTuner's own table.
_SHOWN = 3


def execute(flags, space):
    """Searches, goes on with a search, or tells what it would take.

    Args:
        flags: The `flagfile.Flags` of `Search` and `Settings`.
        space: The `space.Space` of them.

    Returns:
        The exit code, as `tfwd.tune.main` tells.
    """
    try:
        with usage.refusals():
            plan = plan_lib.make(flags, space)
            if plan.search.dry_run:
                _tell(plan)
                return 0
            return _searched(plan)
    except usage.UsageError as error:
        return command.refuse(error)
    except stopped.Stopped as request:
        print("The search is stopped; the same command goes on with it")
        return request.exit_code
    except (OSError, worker.ChiefError, training_run.BusyError) as error:
        return command.fail(error)


def oracle_of(plan, on_end=None):
    """Returns the oracle of a search.

    Args:
        plan: A `plan.Plan`.
        on_end: Called with each trial that has ended.
    """
    common = {
        "seeds": plan.seeds,
        "on_end": on_end,
        "seed": plan.example.run.seed,
    }
    direction = "max" if plan.objective.maximize else "min"
    common["objective"] = keras_tuner.Objective(plan.objective.name, direction)
    common["hyperparameters"] = plan.space.hyperparameters()
    if plan.cells is not None:
        return oracles.GridOracle(plan.cells, **common)
    if plan.search.tuner == "hyperband":
        return oracles.HyperbandOracle(
            max_epochs=plan.example.schedule.epochs, factor=_FACTOR, **common
        )
    kinds = {
        "random": oracles.RandomOracle,
        "bayesian": oracles.BayesianOracle,
    }
    return kinds[plan.search.tuner](max_trials=plan.search.trials, **common)


def _tell(plan):
    """Prints the cells and what they take."""
    if plan.cells is not None:
        for number, cell in enumerate(plan.cells):
            values = plan.columns(cell).items()
            print(number, *(f"{name}={value}" for name, value in values))
    found = estimate.work(plan, oracle_of(plan))
    seconds = estimate.seconds_per_step(
        plan.example, plan.sources.of(plan.example)
    )
    print(estimate.text(found, seconds))


def _searched(plan):
    role = roles.of_environment()
    if role != roles.SINGLE and plan.flags.values["output_dir"] is None:
        rules.refuse("output_dir", "is needed by a chief and its workers", None)
    path = search_folder.path_of(plan.flags)
    if role == roles.WORKER:
        search_folder.check_same(path, plan.flags)
        run = runner.Runner(plan, path)
        # All files but those of its runs are the chief's.
        tuner_lib.Tuner(oracle_of(plan), run, path).search()
        return 0
    lock = search_folder.claim(path, plan.flags)
    try:
        kept = record.Record(plan, path, is_chief=role == roles.CHIEF)
        oracle = oracle_of(plan, on_end=kept.ended)
        run = runner.Runner(plan, path, kept.epoch)
        tuner = tuner_lib.Tuner(oracle, run, path)
        kept.begin(oracle, estimate.work(plan, oracle))
        tuner.search()
        kept.tidy()
        tuner.results_summary(_SHOWN)
        return conclusion.conclude(plan, path, kept.rows(), len(oracle.trials))
    finally:
        lock.release()
