"""Which variables decay: patterns, factors, and what is saved of them.

Covers `selective`, `summary` and `factors`.
"""

import re

import pytest

import tfwd
from tfwd_tests.optimizers import networks


@pytest.fixture(scope="module")
def variables():
    return networks.network().trainable_variables


def test_a_regex_is_searched_anywhere_in_the_path(variables):
    factors = networks.factors_by_path(
        variables, exclude_from_weight_decay=["lstm.*kernel$", "^conv/"]
    )
    assert networks.excluded(factors) == {
        "lstm/lstm_cell/kernel",
        "lstm/lstm_cell/recurrent_kernel",
        "conv/kernel",
        "conv/bias",
    }


def test_a_string_stands_for_a_list_of_one(variables):
    assert networks.factors_by_path(
        variables, exclude_from_weight_decay="@bias"
    ) == networks.factors_by_path(
        variables, exclude_from_weight_decay=["@bias"]
    )


def test_multipliers_multiply_and_exclusion_is_the_factor_zero(variables):
    factors = networks.factors_by_path(
        variables,
        weight_decay_multipliers={
            "^attention/": 0.5,
            "query": 0.5,
            "@bias": 4.0,
            "^conv": 0.0,
        },
        exclude_from_weight_decay=["value"],
    )
    assert factors["attention/query/kernel"] == 0.25
    assert factors["attention/query/bias"] == 1.0
    assert factors["attention/key/kernel"] == 0.5
    assert factors["attention/key/bias"] == 2.0
    assert factors["normal_head/bias"] == 4.0
    assert factors["normal_head/kernel"] == 1.0
    assert networks.excluded(factors) == {
        "attention/value/kernel",
        "attention/value/bias",
        "conv/kernel",
        "conv/bias",
    }


def test_the_order_of_the_rules_does_not_matter(variables):
    multipliers = {"attention": 0.5, "@bias": 0.25, "kernel": 2.0, "conv": 0.0}
    exclusions = ["lstm", "@norm"]
    assert networks.factors_by_path(
        variables,
        weight_decay_multipliers=multipliers,
        exclude_from_weight_decay=exclusions,
    ) == networks.factors_by_path(
        variables,
        weight_decay_multipliers=dict(reversed(multipliers.items())),
        exclude_from_weight_decay=exclusions[::-1],
    )


@pytest.mark.parametrize(
    "policy",
    [
        {"exclude_from_weight_decay": ["kernel", "deense"]},
        {"weight_decay_multipliers": {"deense": 0.5}},
    ],
)
def test_a_regex_that_matches_nothing_is_refused_with_the_paths(policy):
    optimizer = tfwd.SGDW(0.1, 0.01, **policy)
    with pytest.raises(ValueError) as error:
        optimizer.build(networks.small_variables())
    (line,) = str(error.value).splitlines()
    assert "Received: 'deense'" in line
    assert line.endswith("head/kernel, head/bias")
    assert not optimizer.built


def test_a_preset_that_matches_nothing_is_reported_and_not_refused():
    optimizer = tfwd.SGDW(
        0.1, 0.01, exclude_from_weight_decay=["@bias", "@norm"]
    )
    with pytest.warns(UserWarning, match="^@norm in .* matches no variable"):
        optimizer.build(networks.small_variables())
    lines = []
    optimizer.weight_decay_summary(lines.append)
    assert "Matches no variable: @norm" in lines[0].splitlines()
    assert optimizer.weight_decay_factors == (1.0, 0.0)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (
            {"exclude_from_weight_decay": ["(kernel"]},
            r"`exclude_from_weight_decay` must .* Received: .*='\(kernel'$",
        ),
        (
            {"exclude_from_weight_decay": ["@biases"]},
            r"`exclude_from_weight_decay` must be one of @bias, @norm, "
            r"@embedding, @standard. Received: .*=@biases$",
        ),
        (
            {"exclude_from_weight_decay": [3]},
            r"`exclude_from_weight_decay` must .* Received: .*=3$",
        ),
        (
            {"weight_decay_multipliers": {"*": 0.5}},
            r"`weight_decay_multipliers` must .* Received: .*='\*'$",
        ),
        (
            {"weight_decay_multipliers": {"@dense": 0.5}},
            r"`weight_decay_multipliers` must be one of .*=@dense$",
        ),
        (
            {"weight_decay_multipliers": {"kernel": -0.5}},
            r"`weight_decay_multipliers\['kernel'\]` must be .*=-0.5$",
        ),
        (
            {"weight_decay_multipliers": {"kernel": float("nan")}},
            r"`weight_decay_multipliers\['kernel'\]` must be .*=nan$",
        ),
    ],
)
def test_bad_rules_are_refused_in_one_line_at_once(policy, message):
    with pytest.raises(ValueError, match=message) as error:
        tfwd.SGDW(0.1, 0.01, **policy)
    assert "\n" not in str(error.value)


def test_the_method_excludes_by_variable_and_by_pattern(variables):
    by_path = {variable.path: variable for variable in variables}
    optimizer = tfwd.SGDW(0.1, 0.01, exclude_from_weight_decay=["@norm"])
    optimizer.exclude_from_weight_decay(var_list=[by_path["conv/kernel"]])
    optimizer.exclude_from_weight_decay(var_names=["lstm", "@embedding"])
    optimizer.build(variables)
    paths = [variable.path for variable in variables]
    factors = dict(zip(paths, optimizer.weight_decay_factors, strict=True))
    lstm = {path for path in by_path if path.startswith("lstm")}
    assert len(lstm) == 3
    assert (
        networks.excluded(factors)
        == {"conv/kernel"} | lstm | networks.NORMS | networks.EMBEDDINGS
    )


def test_a_variable_is_excluded_by_its_whole_path():
    # "head/kernel" is a part of "big_head/kernel".
    variables = networks.small_variables() + networks.small_variables("big_")
    optimizer = tfwd.SGDW(0.1, 0.01)
    optimizer.exclude_from_weight_decay(var_list=variables[:1])
    optimizer.build(variables)
    assert optimizer.weight_decay_factors == (0.0, 1.0, 1.0, 1.0)


def test_a_string_stands_for_a_list_of_one_in_the_method_too():
    optimizer = tfwd.SGDW(0.1, 0.01)
    optimizer.exclude_from_weight_decay(var_names="bias")
    optimizer.build(networks.small_variables())
    assert optimizer.weight_decay_factors == (1.0, 0.0)


def test_a_name_that_keras_method_finds_nowhere_is_a_warning_alone():
    kernel = networks.small_variables()[:1]
    optimizer = tfwd.SGDW(0.1, 0.01)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    with pytest.warns(UserWarning, match="^bias in the weight decay patterns"):
        optimizer.build(kernel)
    assert optimizer.weight_decay_factors == (1.0,)
    assert optimizer.unmatched_patterns == ("bias",)
    strict = tfwd.SGDW(0.1, 0.01, exclude_from_weight_decay=["bias"])
    with pytest.raises(ValueError, match="^`exclude_from_weight_decay` must"):
        strict.build(kernel)


def test_the_method_is_refused_after_build_and_for_a_bad_pattern():
    optimizer = tfwd.SGDW(0.1, 0.01)
    with pytest.raises(ValueError, match=r"`var_names` must .*='\('$"):
        optimizer.exclude_from_weight_decay(var_names=["("])
    optimizer.build(networks.small_variables())
    with pytest.raises(ValueError, match="before `build`. Received: built="):
        optimizer.exclude_from_weight_decay(var_names=["bias"])
    assert optimizer.weight_decay_factors == (1.0, 1.0)


def test_the_summary_lists_path_shape_and_factor():
    optimizer = tfwd.AdamS(
        1e-3,
        5e-4,
        weight_decay_multipliers={"kernel": 0.5},
        exclude_from_weight_decay=["@bias"],
        name="tuned",
    )
    with pytest.raises(ValueError, match="call `build.* Received: built=Fal"):
        optimizer.weight_decay_summary()
    optimizer.build(networks.small_variables())
    lines = []
    optimizer.weight_decay_summary(lines.append)
    head, _, *rows = lines[0].splitlines()
    assert head == (
        "Weight decay of tuned: mode stable, coefficient 0.0005, "
        "12 of 15 parameters"
    )
    assert [re.split(r"\s{2,}", row.strip()) for row in rows] == [
        ["head/kernel", "(4, 3)", "0.5"],
        ["head/bias", "(3,)", "-"],
    ]


def test_an_optimizer_without_rules_fits_any_variables():
    """So `from_config(get_config())` serves after layers were frozen."""
    first = tfwd.SGDW(0.1, 0.01)
    first.build(networks.small_variables())
    second = tfwd.SGDW.from_config(first.get_config())
    second.build(networks.small_variables()[:1])
    assert second.weight_decay_factors == (1.0,)
