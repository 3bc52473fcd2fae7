"""What the report of a search says.

Covers `map_report`, `wording` and `lines`.
"""

import dataclasses
import functools
import math

import numpy as np
import pytest

from tfwd.tuning import maps
from tfwd.tuning import objective
from tfwd.tuning.output import map_report
from tfwd.tuning.output import report
from tfwd_tests.tuning import searches

RATES = (1e-3, 1e-2, 1e-1)
DECAYS = (1e-4, 1e-3, 1e-2)
AXES = {"learning_rate": RATES, "weight_decay": DECAYS}
SEARCH = report.Search(
    *("digits, mlp", ("--dataset=digits", "--trials_per_cell=2")),
    *(tuple(AXES), searches.ACCURACY, "final", 9, 2),
)


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    told = functools.partial(maps.findings, resamples=20)
    monkeypatch.setattr(maps, "findings", told)


def bowl(learning_rate, weight_decay, seed=0, **_):
    u, v = np.log10(learning_rate) + 2, np.log10(weight_decay) + 3
    return float(0.9 - 0.1 * (u * u + v * v)) + (-0.01, 0.01)[seed]


def text(rows=None, search=SEARCH, **more):
    if rows is None:
        rows = searches.rows(AXES, bowl, seeds=2)
    return report.text(search, rows, replay="python -m tfwd.train", **more)


def failing(learning_rate, weight_decay, seed):
    if learning_rate == 1e-1 and weight_decay == 1e-2:
        return "diverged", "loss is NaN | step 3"
    if learning_rate == 1e-3 and weight_decay == 1e-4 and seed == 1:
        return "failed", "out of memory"
    if learning_rate == 1e-1 and seed == 0:
        return "pruned", "below the median"
    return bowl(learning_rate, weight_decay, seed)


def test_report_begins_with_what_was_searched():
    lines = text().splitlines()
    assert (
        lines[:10]
        == [
            "# digits, mlp",
            "",
            *lines[2:4],
            "",
            "```",
            *SEARCH.flags,
            "```",
            "",
        ][:10]
    )
    assert lines[2:4] == [
        "- 9 cells, 2 seeds each: 18 runs, 18 completed.",
        "- Objective: validation_accuracy of the final epoch, higher is "
        "better.",
    ]


def test_best_cell_has_its_mean_deviation_and_seeds():
    found = text()
    assert (
        "learning_rate=0.01, weight_decay=0.001 (trial 004): "
        "validation_accuracy 0.9 ± 0.014\n" in found
    )
    assert "Of its seeds: 0.89 (seed 0), 0.91 (seed 1)\n" in found


def test_choice_on_test_data_is_remarked():
    goal = objective.Objective("test_accuracy", True)
    assert "optimistic" in text(
        search=dataclasses.replace(SEARCH, objective=goal)
    )
    assert "optimistic" not in text()


def test_map_says_what_its_findings_are():
    found = text(default=1e-3)
    assert "d log weight_decay* / d log learning_rate" in found
    assert "within 0.005 of the best" in found
    assert "within 0.01 of the best" in found
    (line,) = [x for x in found.splitlines() if x.startswith("regret of")]
    assert line.split()[2:4] == ["weight_decay=0.001", "0"]
    assert "No measures" not in found
    assert "regret" not in text() + text(default=1.0)
    assert "No measures" not in text(default=1.0)


def test_best_cell_on_the_edge_is_in_the_report_and_warns_of_nothing():
    def result(learning_rate, weight_decay, seed):
        return bowl(learning_rate * 10, weight_decay, seed)

    rows = searches.rows(AXES, result, seeds=2)
    assert "the best cell is on it" in text(rows)


def test_each_panel_has_findings_or_the_reason_why_not():
    def result(optimizer, **values):
        is_hole = optimizer == "adamw" and values["learning_rate"] == 1e-2
        return ("failed", "why") if is_hole else bowl(**values)

    axes = {"optimizer": ("adams", "adamw")} | AXES
    rows = searches.rows(axes, result, seeds=2)
    search = dataclasses.replace(SEARCH, names=tuple(axes), cells=18)
    part = text(rows, search).partition("## What the map says")[2]
    adams, adamw = part.partition("## Trials")[0].split("### optimizer = ")[1:]
    assert "d log weight_decay*" in adams
    assert adamw.startswith("adamw\n\nNo measures of this map: `grid` must")
    assert "none in 3 of 9" in adamw


@pytest.mark.parametrize(
    ("axes", "reason"),
    [
        ({"learning_rate": RATES}, "needs two numbers that vary"),
        ({"optimizer": ("adams", "adamw")}, "needs one or two numbers"),
        ({"learning_rate": RATES, "weight_decay": (0.0, 1e-3)}, "weight_decay"),
    ],
)
def test_search_without_a_map_says_why(axes, reason):
    rows = searches.rows(axes, lambda **_: 0.5, seeds=2)
    search = dataclasses.replace(SEARCH, names=tuple(axes), cells=None)
    part = text(rows, search).partition("## What the map says\n\n")[2]
    first = part.splitlines()[0]
    assert first.startswith("No m") and reason in first


def test_trials_are_ordered_by_their_means_and_twenty_are_shown():
    axes = {"learning_rate": tuple(10.0**-k for k in range(30))}

    def result(learning_rate, seed):
        return math.log10(learning_rate) + seed

    rows = searches.rows(axes, result, seeds=2)
    search = dataclasses.replace(
        SEARCH, names=tuple(axes), cells=30, objective=searches.PERPLEXITY
    )
    found = text(rows, search)
    assert "The best 20 of 30 completed cells" in found
    lines = [line for line in found.splitlines() if line.startswith("| 0")]
    trials = [int(line.split()[1]) for line in lines]
    assert trials == list(range(29, 9, -1))
    assert lines[0] == "| 029 | 1e-29 | -28.5 | 0.71 | 2 | 3 |"


def test_every_diverged_or_failed_run_is_listed_with_its_reason():
    rows = searches.rows(AXES, failing, seeds=2)
    found = text(rows)
    assert "18 runs, 13 completed, 2 diverged, 1 failed, 2 pruned." in found
    listed = found.partition("Without a result:")[2].partition("##")[0]
    assert listed.splitlines()[2:-1] == [
        "| trial | seed | learning_rate | weight_decay | status | epochs | "
        "reason |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        "| 000 | 1 | 0.001 | 0.0001 | failed | 1 | out of memory |",
        *[
            f"| 008 | {seed} | 0.1 | 0.01 | diverged | 1 | "
            "loss is NaN \\| step 3 |"
            for seed in (0, 1)
        ],
    ]


def test_objective_that_is_not_finite_counts_as_diverged():
    rows = [
        row | {"objective": math.inf}
        for row in searches.rows({"learning_rate": RATES}, lambda **_: 0.5)
    ]
    found = text(rows, dataclasses.replace(SEARCH, names=("learning_rate",)))
    assert "3 runs, 3 diverged." in found
    assert found.count("| diverged |") == 3


def test_search_that_goes_on_says_how_many_cells_there_are():
    rows = searches.rows(AXES, bowl, seeds=2)[:9]
    found = text(rows)
    assert "- 5 of 9 cells, 2 seeds each: 9 runs" in found
    # That of 004 would be better, but has one seed yet.
    assert "(trial 001)" in found


def test_search_without_a_completed_cell_has_no_best():
    rows = searches.rows(AXES, lambda **_: ("failed", "why"), seeds=2)
    found = text(rows)
    assert "There is none: no cell has 2 completed runs." in found
    assert "None completed." in found
    assert "## Again" not in found


def test_picture_results_of_retraining_and_command_are_there():
    retrained = {
        "train": {"loss": 0.125, "accuracy": 1.0},
        "test": {"loss": 0.25, "accuracy": 0.9375},
    }
    found = text(plot="heatmap.png", retrained=retrained)
    assert "![digits, mlp](heatmap.png)" in found
    assert "| test | 0.25 | 0.9375 |" in found
    assert found.endswith("## Again\n\n```\npython -m tfwd.train\n```\n")
    assert "It was not retrained" in text()
    assert "![" not in text()


@pytest.mark.parametrize(
    ("name", "best", "expected"),
    [
        ("validation_accuracy", 0.9, (0.005, 0.01)),
        ("test_top_5_accuracy", 0.1, (0.005, 0.01)),
        ("validation_perplexity", 87.2, (0.87, 4.4)),
        ("test_loss", 0.0124, (0.00012, 0.00062)),
        ("examples_per_second", 12345.0, (120.0, 620.0)),
    ],
)
def test_margins_are_points_of_accuracies_and_shares_of_others(
    name, best, expected
):
    goal = objective.Objective(name, "loss" not in name)
    assert map_report.margins(goal, best) == expected


def test_findings_of_a_perplexity_are_of_its_direction(monkeypatch):
    seen = []
    told = maps.findings

    def look(grid, **options):
        seen.append((grid.maximize, options["above_best"]))
        return told(grid, **options)

    monkeypatch.setattr(maps, "findings", look)
    rows = searches.rows(AXES, lambda **v: 100 - bowl(**v), seeds=2)
    found = text(
        rows, dataclasses.replace(SEARCH, objective=searches.PERPLEXITY)
    )
    assert seen == [(False, (0.99, 5.0))]
    assert "lower is better" in found and "(trial 004)" in found
