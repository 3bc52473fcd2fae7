"""Linked values against their formulas, and what is no link.

Covers `linked`.
"""

import pytest

from tfwd.tuning.values import links


def test_decay_over_the_epochs_is_the_table_of_xie_et_al():
    # Table 3: λ of 1/E, 0.1/E and 0.01/E.
    for c in (1.0, 0.1, 0.01):
        for epochs in (50, 2000):
            found = links.resolve(
                {"weight_decay": f"{c} / epochs"}, {"epochs": epochs}
            )
            assert found == {"epochs": epochs, "weight_decay": c / epochs}


def test_epochs_over_the_decay_are_whole_and_at_least_one():
    for weight_decay, epochs in ((5e-4, 200), (3e-4, 333), (1.0, 1)):
        values = {"weight_decay": weight_decay}
        found = links.resolve({"epochs": "0.1 / weight_decay"}, values)
        assert found["epochs"] == epochs and type(found["epochs"]) is int


def test_decay_of_adamw_is_a_thousand_times_that_of_adams():
    values = {"adams/weight_decay": 5e-4}
    text = {"adamw/weight_decay": "1e3 * adams/weight_decay"}
    found = links.resolve(text, values)
    assert found["adamw/weight_decay"] == 1e3 * 5e-4


def test_both_operands_may_be_names_and_a_link_may_name_a_later_one():
    text = {"b": "a / rate", "a": "rate * rate"}
    assert links.resolve(text, {"rate": 4}) == {"rate": 4, "a": 16, "b": 4}


def test_drops_are_shares_of_the_epochs():
    text = {"decay_epochs": "0.4E, .8E", "epochs": "0.1 / weight_decay"}
    found = links.resolve(text, {"weight_decay": 1e-3})
    assert found["decay_epochs"] == (40, 80)


def test_values_are_left_as_they_are():
    values = {"optimizer": "adamw", "epochs": 3}
    assert links.resolve({}, values) == values


@pytest.mark.parametrize(
    "text",
    [
        *("", "0.1", "epochs", "0.1/epochs", "a + b", "a / b / c", "a ** b"),
        *("-1 * a", "f(a)", "a / (b)", "0.4E,", "E", "0.4E 0.8E", "a\n/ b;"),
        *("__import__('os') * a", "a.real * b", "1_0 * a", "٣ * a"),
        None,
    ],
)
def test_what_is_no_link_is_refused_in_one_line(text):
    with pytest.raises(ValueError, match="^`x` must be a link") as caught:
        links.parse("x", text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text, values, message",
    [
        ({"x": "1 / y"}, {}, "`x` must be linked to values that there are"),
        ({"x": "0.5E"}, {}, "`x` must be linked to .* not to epochs"),
        ({"x": "1 / x"}, {}, "`x` must not be linked to itself"),
        ({"x": "1 / y", "y": "1 / x"}, {}, "`x` must not be linked to itself"),
        ({"x": "1 / y"}, {"x": 1, "y": 1}, "`x` must be a value or a link"),
        ({"x": "1 / y"}, {"y": "adamw"}, "`y` must be a number, as x is"),
        ({"x": "1 / y"}, {"y": True}, "`y` must be a number, as x is"),
        ({"x": "1 / y"}, {"y": 0}, r"`x` must be in \(0, inf\)"),
        ({"x": "1 * y"}, {"y": -1.0}, r"`x` must be in \(0, inf\)"),
        ({"x": "0 * y"}, {"y": 1}, r"`x` must be in \(0, inf\)"),
        ({"x": "1.5E"}, {"epochs": 9}, r"`x` must be in \(0, 1\]"),
        ({"x": "0.8E,0.4E"}, {"epochs": 9}, "`x` must be increasing integers"),
        ({"x": "0.1E,0.2E"}, {"epochs": 4}, "`x` must be increasing integers"),
    ],
)
def test_link_without_a_value_is_refused_in_one_line(text, values, message):
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        links.resolve(text, values)
    assert "\n" not in str(caught.value) and "Received: " in str(caught.value)
