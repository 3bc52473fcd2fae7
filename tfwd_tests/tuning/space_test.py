"""Spaces: their cells, what a cell trains, and what is refused beforehand.

Covers `tuner_limits` and `cell`.
"""

import subprocess
import sys

import keras_tuner
import pytest

from tfwd.training.config import usage
from tfwd.training.setup import optimization
from tfwd.tuning import flags as flags_lib
from tfwd.tuning.values import space as space_lib
from tfwd_tests.tuning import command_lines


def space(*search, link=(), tuner="grid"):
    return space_lib.parse(
        flags_lib.Search(search=search, link=tuple(link), tuner=tuner)
    )


RATES = "learning_rate=log:1e-3:1e-1:3"


def test_cells_are_the_product_of_the_points_the_first_slowest():
    found = space(RATES, "optimizer=choice:adamw,adams").cells()
    assert found == [
        {"learning_rate": rate, "optimizer": name}
        for rate in (1e-3, 1e-2, 1e-1)
        for name in ("adamw", "adams")
    ]


def test_settings_of_a_cell_are_the_flags_with_its_values():
    one = space(RATES, "batch_norm=choice:true,false")
    given = command_lines.flags({"epochs": 7}, weight_decay=1e-4)
    found = one.settings(given, {"learning_rate": 1e-2, "batch_norm": False})
    assert (found.optimizer.learning_rate, found.model.batch_norm) == (
        1e-2,
        False,
    )
    assert (found.schedule.epochs, found.optimizer.weight_decay) == (7, 1e-4)
    assert one.names == ("learning_rate", "batch_norm")


def test_values_of_others_in_a_cell_are_passed_over():
    values = {"learning_rate": 1e-2, "tuner/epochs": 3}
    given = command_lines.flags()
    assert space(RATES).values(given, values) == {"learning_rate": 1e-2}
    assert space(RATES).settings(given, values).optimizer.learning_rate == 1e-2


def test_hyperparameters_hold_every_name_in_order():
    hp = space(RATES, "batch_norm=choice:true,false").hyperparameters()
    assert isinstance(hp, keras_tuner.HyperParameters)
    assert hp.values == {"learning_rate": 1e-3, "batch_norm": True}


def test_decay_of_adamw_is_a_thousand_times_that_of_adams():
    one = space(
        "optimizer=choice:adamw,adams",
        "stable=choice:1e-4,5e-4",
        link=["weight_decay=stable * optimizer_factor"],
    )
    given = command_lines.flags()
    found = [one.values(given, cell) for cell in one.cells(given)]
    assert [each["weight_decay"] for each in found] == pytest.approx(
        [0.1, 0.5, 1e-4, 5e-4]
    )
    assert list(found[0]) == ["optimizer", "stable", "weight_decay"]
    assert one.settings(given, one.cells()[1]).optimizer.weight_decay == 0.5


def test_factor_is_that_of_the_mode_of_the_command_line():
    one = space(
        "stable=choice:1", link=["weight_decay=optimizer_factor * stable"]
    )
    given = command_lines.flags(optimizer="sgd", weight_decay_mode="decoupled")
    cls = optimization.OPTIMIZERS["sgd"]
    expected = optimization.decay_factor(cls, "decoupled")
    assert (
        one.settings(given, {"stable": 1.0}).optimizer.weight_decay
        == expected
        == 10
    )


def test_links_of_links_and_shares_of_the_epochs():
    # Figure 2 and Figure 9 of Xie et al.
    one = space(
        "weight_decay=choice:1e-3,5e-4",
        link=["decay_epochs=0.4E,0.8E", "epochs=0.1 / weight_decay"],
    )
    given = command_lines.flags(schedule="step")
    found = [one.settings(given, cell) for cell in one.cells(given)]
    assert [each.schedule.epochs for each in found] == [100, 200]
    assert [each.schedule.decay_epochs for each in found] == [
        (40, 80),
        (80, 160),
    ]


def test_link_takes_a_flag_of_the_command_line():
    one = space("c=choice:1,0.1", link=["weight_decay=c / epochs"])
    given = command_lines.flags({"epochs": 50})
    assert one.values(given, {"c": 0.1}) == {"c": 0.1, "weight_decay": 0.002}


def test_flag_without_effect_in_a_cell_has_its_default_there():
    one = space("optimizer=choice:adam,kfac", "damping=choice:1e-3,1e-2", RATES)
    given = command_lines.flags({"momentum": 0.5, "cold_start": False})
    found = one.cells(given)
    # Without a damping, cells of adam are the same in pairs.
    assert len(found) == 3 + 2 * 3
    made = [one.settings(given, cell) for cell in found]
    adam, kfac = made[:3], made[3:]
    assert {each.kfac.damping for each in adam} == {None}
    assert {each.kfac.cold_start for each in adam} == {None}
    assert [each.kfac.damping for each in kfac] == [1e-3] * 3 + [1e-2] * 3
    assert {
        (each.optimizer.momentum, each.kfac.cold_start) for each in kfac
    } == {(0.5, False)}
    assert [cell["damping"] for cell in found[:3]] == [1e-3] * 3


def test_flag_that_was_given_needs_one_cell_alone_to_have_an_effect():
    for names in ("kfac,adam", "adam,kfac"):
        one = space(f"optimizer=choice:{names}")
        assert len(one.cells(command_lines.flags(damping=1e-2))) == 2


def test_free_values_with_the_same_result_are_one_cell():
    one = space("c=choice:1,1.1", link=["epochs=c * bptt"])
    assert len(one.cells()) == 2
    given = command_lines.flags({"dataset": "ptb", "model": "lstm"}, bptt=3)
    assert one.cells(given) == [{"c": 1.0}]


@pytest.mark.parametrize(
    ("search", "in_a_file", "given", "message"),
    [
        (
            [RATES, "damping=choice:1e-3,1e-2"],
            {},
            {"optimizer": "adam"},
            "`--damping` needs an --optimizer that takes it in at least one",
        ),
        ([RATES], {}, {"bptt": 35}, "`--bptt` needs --dataset=ptb in at le"),
        ([RATES], {"bptt": 36}, {}, "`--bptt` needs --dataset=ptb in at le"),
        (
            ["decay_factor=choice:0.1,0.2"],
            {},
            {},
            "`--decay_factor` needs --schedule=step or --weight_decay_sche",
        ),
        (
            ["epochs=choice:20,10"],
            {"warmup_epochs": 15.0},
            {},
            "`--warmup_epochs` must be at most --epochs=10. .* in the cell "
            "epochs=10$",
        ),
        (
            ["optimizer=choice:adam,sgdw"],
            {"weight_decay_mode": "l2"},
            {},
            "`--weight_decay_mode` must be one of decoupled .* in the cell "
            "optimizer=sgdw$",
        ),
    ],
)
@pytest.mark.parametrize("tuner", ["grid", "random"])
def test_space_that_cannot_be_run_is_refused(
    search, in_a_file, given, message, tuner
):
    one = space(*search, tuner=tuner)
    look = one.cells if tuner == "grid" else one.check
    with pytest.raises(usage.UsageError, match=f"^{message}") as caught:
        look(command_lines.flags(in_a_file, **given))
    assert "\n" not in str(caught.value)


def test_default_written_in_a_flagfile_may_have_no_effect():
    given = command_lines.flags({"bptt": 35})
    assert len(space(RATES).cells(given)) == 3


def test_check_looks_at_both_ends_of_a_range():
    one = space("epochs=linear:4:30", RATES, tuner="random")
    one.check(command_lines.flags({"warmup_epochs": 4.0}))
    with pytest.raises(usage.UsageError, match="in the cell epochs=4, learn"):
        one.check(command_lines.flags({"warmup_epochs": 5.0}))


def test_link_without_a_value_in_a_cell_is_refused_with_the_cell():
    one = space("epochs=choice:1", link=["weight_decay=1 / learning_rate"])
    given = command_lines.flags()
    with pytest.raises(usage.UsageError, match="needs --learning_rate to be "):
        one.cells(given)
    one = space("c=choice:1,0", link=["weight_decay=1 / c"])
    message = r"^`weight_decay` must be in \(0, inf\) .* in the cell c=0.0$"
    with pytest.raises(usage.UsageError, match=message):
        one.cells(given)


@pytest.mark.parametrize(
    ("search", "link", "message"),
    [
        ([], [], "`--search` must be given at least once"),
        (["learning_rate=log:1:2"], [], "`--search` must end in :N"),
        ([RATES, RATES], [], "`--search` must name each value once"),
        (["tuner=choice:grid"], [], "`--search` must name a flag of the tr"),
        (["c=choice:1"], [], "`--search` must name a flag of the training, "),
        (["seed=choice:1"], [], "`--search` must not name seed: --trials_pe"),
        (["data_dir=choice:a"], [], "`--search` must not name data_dir, whic"),
        (["dataset=choice:mnist"], [], "`--search` must not name dataset, w"),
        (
            ["decay_epochs=choice:1,2"],
            [],
            "`--search` must not name decay_epochs, which holds a list: link",
        ),
        (
            ["exclude_from_weight_decay=choice:a"],
            [],
            "`--search` must not name exclude_from_weight_decay, which holds",
        ),
        (
            [RATES],
            ["learning_rate=0.1 / epochs"],
            "`--search` must not name what is linked, too",
        ),
        (
            ["optimizer_factor=choice:1"],
            ["weight_decay=1 * optimizer_factor"],
            "`--search` must name a flag of the training, or",
        ),
        ([RATES], ["x"], "`--link` must be NAME=A / B or NAME=A"),
        ([RATES], ["=1 / epochs"], "`--link` must be NAME=A / B or"),
        ([RATES], ["x=1 / epochs"], "`--link` must be of a flag"),
        ([RATES], ["seed=1 * epochs"], "`--link` must be of a flag"),
        ([RATES], ["optimizer=1 * epochs"], "`--link` must be of a flag"),
        ([RATES], ["weight_decay=1/epochs"], "`--link` has no such form"),
        ([RATES], ["weight_decay=0.4E"], "`--link` must be A / B or A"),
        ([RATES], ["decay_epochs=1 / epochs"], "`--link` must be shares"),
        (
            [RATES],
            ["weight_decay=1 / epochs", "weight_decay=2 / epochs"],
            "`--link` must be given once for each name",
        ),
        (
            [RATES],
            ["weight_decay=1 / missing"],
            "`--link` needs the value missing, which is neither",
        ),
        (
            ["optimizer=choice:adam,adams"],
            ["weight_decay=1 / optimizer"],
            "`--link` must be made of numbers, not of optimizer",
        ),
        (
            [RATES],
            ["weight_decay=1 / epochs", "epochs=1 / weight_decay"],
            "`--link` must not wait for itself",
        ),
        (
            ["learning_rate=log:1e-9:1:1000", "weight_decay=log:1e-9:1:1000"],
            [],
            "`--search` must make a grid of at most 100000 cells, not 1000000",
        ),
    ],
)
def test_flags_that_make_no_space_are_refused_in_one_line(
    search, link, message
):
    with pytest.raises(usage.UsageError, match=f"^{message}") as caught:
        space(*search, link=link)
    assert "\n" not in str(caught.value) and "Received: --" in str(caught.value)


def test_epochs_are_not_searched_where_they_are_the_budget():
    with pytest.raises(usage.UsageError, match="^`--search` must not be of ep"):
        space(RATES, "epochs=linear:1:9", tuner="hyperband")
    with pytest.raises(usage.UsageError, match="^`--link` must not be of epo"):
        space(RATES, link=["epochs=1 / learning_rate"], tuner="hyperband")
    assert space("learning_rate=log:1e-3:1", tuner="hyperband").names


def test_reading_a_space_waits_for_neither_tensorflow_nor_keras():
    program = (
        "import sys\n"
        # As `python -m tfwd.tune` finds it.
        "sys.argv, sys.orig_argv = ['-m'], ['tfwd.tune']\n"
        "from tfwd.tuning import flags\n"
        "from tfwd.tuning.values import space\n"
        "found = space.parse(flags.Search(\n"
        "    search=('c=log:1e-4:1:5', 'optimizer=choice:adam,adams'),\n"
        "    link=('weight_decay=c * optimizer_factor',)))\n"
        "assert len(found.cells()) == 10\n"
        "slow = {'keras', 'tensorflow', 'keras_tuner', 'jax', 'torch'}\n"
        "print(*sorted(slow & sys.modules.keys()))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == []
