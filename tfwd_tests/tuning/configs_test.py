"""The searches in configs/search: valid, headed, around what is published."""

import pathlib
import re

import pytest

from tfwd.training.config import fields
from tfwd.training.config import flagfile
from tfwd.training.config import settings as settings_lib
from tfwd.training.setup import optimization as optimizer_lib
from tfwd.tuning import flags as flags_lib
from tfwd.tuning import objective
from tfwd.tuning.values import space as space_lib
from tfwd_tests.training import published

ROOT = pathlib.Path(__file__).parents[2] / "configs" / "search"
NAMES = sorted(path.stem for path in ROOT.glob("*.flags"))
COST = re.compile(
    r"Cost: (\d+) cells of (\d) seeds?, ([\d,]+) epochs in all(, then those)?"
)
# Zhang et al., Table 3.
LARGE = [
    f"{network}_bn_augmented_{optimizer}"
    for network in ("cifar10_vgg16", "cifar10_resnet32", "cifar100_resnet32")
    for optimizer in ("sgd", "kfac_f", "kfac_g")
]
FIVES = [digit * 10.0**power for power in range(-7, 1) for digit in (1, 5)]


def read(name):
    found = flagfile.read(
        [f"--flagfile={ROOT / name}.flags"],
        settings_lib.Settings,
        flags_lib.Search,
    )
    search = found.of(flags_lib.Search)
    return found, search, space_lib.parse(search)


def cells(name):
    """The settings of every cell."""
    found, _, space = read(name)
    return [space.settings(found, cell) for cell in space.cells(found)]


def head(name):
    lines = (ROOT / f"{name}.flags").read_text().splitlines()
    return " ".join(line[1:].strip() for line in lines if line[:1] == "#")


def rates(name):
    return sorted({each.optimizer.learning_rate for each in cells(name)})


def decays(name, optimizer=None):
    return sorted(
        {
            each.optimizer.weight_decay
            for each in cells(name)
            if optimizer in (None, each.optimizer.optimizer)
        }
    )


def fives(low, high):
    return pytest.approx([v for v in FIVES if low <= v * 1.01 <= high * 1.02])


@pytest.mark.parametrize("name", NAMES)
def test_search_makes_the_runs_that_its_header_counts(name):
    found, search, space = read(name)
    made = cells(name)
    text = head(name)
    assert text.startswith("Searches: ")
    assert f"./launch/tune.sh --flagfile=configs/search/{name}.flags" in text
    for word in ("Command: ", "Hardware: ", "Published: "):
        assert word in text
    count, seeds, epochs, again = COST.search(text).groups()
    assert int(count) == len(made) == len(space.cells())
    assert int(seeds) == search.trials_per_cell
    total = int(seeds) * sum(each.schedule.epochs for each in made)
    assert int(epochs.replace(",", "")) == total
    assert bool(again) == search.retrain
    for each in (made[0], made[-1]):
        optimizer_lib.plan(each, 391).create()


@pytest.mark.parametrize("name", NAMES)
def test_results_are_of_data_that_the_search_has_not_trained_on(name):
    _, search, _ = read(name)
    settings = cells(name)[0]
    found = objective.of(settings, search.objective).name
    # A best cell of the test data would be no result to retrain for.
    assert search.retrain == found.startswith("validation_")
    assert (settings.data.num_validation > 0) == found.startswith("validation_")


def test_every_search_is_one_of_those_that_are_published_or_ours():
    zhang = [
        f"{network}_{optimizer}_{mechanism}"
        for network, row in published.ZHANG.items()
        for optimizer in row
        for mechanism in ("none", "l2", "decoupled")
    ]
    zhang += [
        f"{name}_{mechanism}_batch{size}"
        for name in LARGE
        for mechanism in ("none", "wd")
        for size in (640, 2000)
    ]
    three = ("adams", "adamw", "adam")
    small, vgg = "cifar10_resnet18", "cifar10_vgg16"
    xie = [
        *(f"{small}_{each}_figure8" for each in three),
        *(f"{small}_{each}_figure20" for each in ("sgd", "sgds")),
        *(f"{small}_sgd_{each}" for each in ("figure2", "figure2_linked")),
        f"{small}_sgd_table3",
        *(f"{small}_{o}_figure3{p}" for o in ("sgd", "adam") for p in "cd"),
        *(f"{vgg}_figure7", "cifar100_resnet34_figure14"),
        *(f"{small}_figure9", f"{vgg}_figure16"),
        *(f"{small}_figure18", f"{vgg}_figure18"),
        *(f"{vgg}_figure19", f"{vgg}_vanilla_sgd_figure19"),
        *(f"{small}_figure21", f"{small}_vanilla_sgd_figure21"),
        *(f"imagenet_resnet50_{each}_figure10" for each in three),
        "ptb_lstm_figure11",
        *(f"{network}_rates" for network in published.XIE_NETWORKS),
    ]
    maps = [
        f"cifar10_resnet20_{optimizer}_{mode}_map"
        for optimizer in ("sgd", "adam")
        for mode in ("l2", "decoupled", "independent")
    ]
    ours = ["default", *(f"{vgg}_{each}_narrow" for each in three)]
    assert NAMES == sorted([*zhang, *xie, *maps, *ours])


@pytest.mark.parametrize("network", published.ZHANG)
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "kfac_f", "kfac_g"])
def test_grids_of_zhang_lie_around_the_values_of_their_files(
    network, optimizer
):
    plain, with_decay = published.ZHANG[network][optimizer]
    name = f"{network}_{optimizer}"
    assert rates(f"{name}_none")[2] == plain[0]
    assert decays(f"{name}_none") == [0]
    for mode in ("l2", "decoupled"):
        made = cells(f"{name}_{mode}")
        assert {each.optimizer.weight_decay_mode for each in made} == {mode}
        assert rates(f"{name}_{mode}")[2] == with_decay[0]
        assert len(made) == 25
    # What is published is L2 of SGD, and decoupled of the others.
    mode = "l2" if optimizer == "sgd" else "decoupled"
    assert decays(f"{name}_{mode}")[2] == with_decay[1]
    base = flagfile.parse(
        [f"--flagfile={ROOT.parent}/three_mechanisms/{name}_wd.flags"]
    )
    searched = {"learning_rate", "weight_decay", "weight_decay_mode"}
    same, others = (
        fields.values(each) for each in (cells(f"{name}_{mode}")[0], base)
    )
    differing = {key for key in same if same[key] != others[key]}
    changed = {"num_validation"}
    if optimizer == "adam":
        changed |= {"optimizer"}
    assert changed <= differing <= changed | searched


@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize("size", [640, 2000])
def test_rates_of_large_batches_are_those_of_128_times_the_root(name, size):
    mechanism = "l2" if "_sgd" in name else "decoupled"
    for large, usual in (("none", "none"), ("wd", mechanism)):
        made = cells(f"{name}_{large}_batch{size}")
        assert {each.data.batch_size for each in made} == {size}
        assert first_rates(made) == pytest.approx(
            [
                rate * (size / 128) ** 0.5
                for rate in first_rates(cells(f"{name}_{usual}"))
            ]
        )


def first_rates(made):
    """The rates of the first step, which the scaling rule has made."""
    return [
        optimizer_lib.value_at(optimizer_lib.plan(each, 25).learning_rate, 1)
        for each in made
    ]


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("cifar10_vgg16_figure7", 1e-6, 1e-3),
        ("cifar100_resnet34_figure14", 1e-6, 1e-3),
        ("cifar10_resnet18_figure18", 1e-6, 1e-2),
        ("cifar10_vgg16_figure18", 1e-6, 1e-2),
    ],
)
def test_axis_of_adamw_is_a_thousand_times_that_of_the_figure(name, low, high):
    for optimizer in ("adams", "adam"):
        assert decays(name, optimizer) == fives(low, high)
    scaled = [value / 1000 for value in decays(name, "adamw")]
    assert scaled == fives(low, high)


def test_maps_and_sweeps_have_the_axes_of_the_figures():
    for optimizer, scale in (("adams", 1), ("adamw", 1000), ("adam", 1)):
        name = f"cifar10_resnet18_{optimizer}_figure8"
        found = rates(name)
        assert found == pytest.approx([10 ** (k / 2) for k in range(-10, -3)])
        assert 1e-3 in found
        assert [v / scale for v in decays(name)] == fives(1e-6, 1e-3)
        grid = f"imagenet_resnet50_{optimizer}_figure10"
        assert rates(grid) == [1e-4, 1e-3, 1e-2, 0.1, 1, 10]
        assert decays(grid) == [5e-6, 5e-5, 5e-4, 5e-3, 5e-2]
    for name in ("figure19", "vanilla_sgd_figure19"):
        assert decays(f"cifar10_vgg16_{name}") == fives(1e-6, 1e-1)
    for name in ("figure21", "vanilla_sgd_figure21"):
        assert decays(f"cifar10_resnet18_{name}") == fives(1e-7, 1e-1)
    assert decays("ptb_lstm_figure11") == sorted(
        [1e-4, 5e-5, 1e-5, 5e-6, 1e-6, 5e-7, 1e-7]
    )
    assert rates("cifar100_googlenet_rates") == [1e-4, 1e-3, 1e-2, 0.1, 1, 10]


def test_figure_2_links_the_epochs_and_table_3_the_coefficient():
    for each in cells("cifar10_resnet18_sgd_figure2_linked"):
        assert each.schedule.epochs == round(0.1 / each.optimizer.weight_decay)
        drops = (
            round(0.4 * each.schedule.epochs),
            round(0.8 * each.schedule.epochs),
        )
        assert each.schedule.decay_epochs == drops
    table = cells("cifar10_resnet18_sgd_table3")
    assert [each.schedule.epochs for each in table[::3]] == [
        50,
        100,
        200,
        1000,
        2000,
    ]
    for i, each in enumerate(table):
        c = (1, 0.1, 0.01)[i % 3]
        assert each.optimizer.weight_decay == pytest.approx(
            c / each.schedule.epochs
        )


@pytest.mark.parametrize(
    "name", ["cifar10_resnet18_figure9", "cifar10_vgg16_figure16"]
)
def test_sweeps_of_large_batches_hold_rule_2(name):
    for each in cells(name):
        assert (each.data.batch_size, each.optimizer.learning_rate) == (
            16384,
            1e-3,
        )
        assert each.schedule.decay_epochs == (
            0.4 * each.schedule.epochs,
            0.8 * each.schedule.epochs,
        )
    found = decays(name, "adams")
    for factor in (1, 128):
        assert any(v == pytest.approx(factor * 1e-4) for v in found)
    scaled = [v / 1000 for v in decays(name, "adamw")]
    assert scaled == pytest.approx(found)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_figure_3_goes_through_rule_1_and_rule_2(optimizer):
    name = f"cifar10_resnet18_{optimizer}_figure3"
    assert decays(f"{name}c") == [1e-4] and rates(f"{name}d") == [1e-3]
    assert {1e-3, 16e-3, 0.128} <= set(rates(f"{name}c"))
    assert {1e-4, 0.0128} <= set(decays(f"{name}d"))


def test_independent_decay_follows_the_schedule():
    for optimizer in ("sgd", "adam"):
        for mode in ("l2", "decoupled", "independent"):
            (one, *_) = cells(f"cifar10_resnet20_{optimizer}_{mode}_map")
            assert (one.schedule.schedule, one.optimizer.weight_decay_mode) == (
                "cosine",
                mode,
            )
            follows = mode == "independent"
            assert one.schedule.weight_decay_schedule == (
                "cosine" if follows else "constant"
            )


def test_default_search_is_small_and_of_digits():
    made = cells("default")
    assert len(made) == 18 and {each.data.dataset for each in made} == {
        "digits"
    }
    assert {each.model.model for each in made} == {"mlp"}
    assert max(each.schedule.epochs for each in made) <= 8
    assert decays("default", "adamw") == pytest.approx(
        [1000 * value for value in decays("default", "adams")]
    )
