"""Which axes a picture has."""

import pytest

from tfwd.tuning.output import panels
from tfwd.tuning.output import results
from tfwd_tests.tuning import searches

RATES = (1e-3, 1e-2, 1e-1)
DECAYS = (1e-4, 5e-4)
BOTH = {"weight_decay": DECAYS, "learning_rate": RATES}


def layout(axes):
    cells = results.cells(searches.rows(axes, lambda **_: 0.5))
    return panels.layout(cells, tuple(axes))


def test_rate_is_x_of_two_numbers_wherever_it_is_searched():
    found = layout(BOTH)
    assert (found.x, found.y, found.by) == (
        "learning_rate",
        "weight_decay",
        None,
    )
    assert [len(part) for part in found.parts.values()] == [6]


def test_first_is_x_of_two_other_numbers():
    found = layout({"damping": RATES, "weight_decay": DECAYS})
    assert (found.x, found.y) == ("damping", "weight_decay")


@pytest.mark.parametrize("values", [("adams", "adamw"), (True, False)])
def test_text_or_boolean_gives_a_panel_each(values):
    found = layout({"choice": values} | BOTH)
    assert (found.x, found.y) == ("learning_rate", "weight_decay")
    assert (found.by, tuple(found.parts)) == ("choice", values)
    for value, part in found.parts.items():
        assert [cell.values["choice"] for cell in part] == [value] * 6


def test_third_number_of_the_fewest_values_gives_a_panel_each():
    found = layout({"epochs": (60, 30)} | BOTH | {"weight_decay": RATES})
    assert (found.by, tuple(found.parts)) == ("epochs", (30, 60))


def test_one_number_has_a_line_per_other_value():
    found = layout({"learning_rate": RATES, "optimizer": ("adams", "adamw")})
    assert (found.x, found.y, found.by) == ("learning_rate", None, "optimizer")


def test_value_that_does_not_vary_is_no_axis():
    found = layout(BOTH | {"damping": (0.1,), "optimizer": ("adams",)})
    assert (found.y, found.by) == ("weight_decay", None)


@pytest.mark.parametrize(
    ("axes", "received"),
    [
        ({"optimizer": ("adams", "adamw")}, "optimizer"),
        ({"learning_rate": (0.1,)}, "nothing that varies"),
        (
            BOTH | {"a": ("b", "c"), "d": (True, False)},
            "weight_decay, learning_rate, a, d",
        ),
        (
            dict.fromkeys(("a", "b", "c"), tuple(range(7))),
            "a, b, c",
        ),
    ],
)
def test_search_without_a_picture_says_why_in_one_line(axes, received):
    with pytest.raises(ValueError, match="one or two numbers") as error:
        layout(axes)
    assert str(error.value).endswith(f"Received: {received}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("values", "scale", "edges"),
    [
        ((1.0, 100.0), "log", [0.1, 10, 1000]),
        ((2.0, 4.0, 8.0), "linear", [1, 3, 6, 10]),
        ((0.0, 0.1, 10.0), "index", [-0.5, 0.5, 1.5, 2.5]),
        ((-1.0, 100.0), "linear", [-51.5, 49.5, 150.5]),
        ((0.0, 0.5, 1.0), "linear", [-0.25, 0.25, 0.75, 1.25]),
    ],
)
def test_edges_are_halfway_on_the_scale_of_the_values(values, scale, edges):
    cells = results.cells(searches.rows({"x": values[::-1]}, lambda **_: 0.5))
    axis = panels.axis(cells, "x")
    assert (axis.values, axis.scale) == (values, scale)
    assert axis.edges() == pytest.approx(edges)


@pytest.mark.parametrize(
    ("costs", "limit"),
    [
        # The best quarter of five reaches to the second.
        ([0, 1, 5, 9, 1000], 3),
        ([0, 5, 6, 7, 8], 8),
        ([2, 2, 2, 2, 9], 9),
        ([4], 4),
    ],
)
def test_few_bad_cells_do_not_set_the_colours(costs, limit):
    assert panels.robust_limit(costs) == limit
