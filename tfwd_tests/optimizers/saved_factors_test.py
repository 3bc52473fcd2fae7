"""Saved factors belong to positions, of the same variables alone.

Covers `saved_variables`.
"""

import contextlib
import json

import keras
import numpy as np
import pytest

import tfwd
from tfwd_tests.optimizers import networks


def variables(*paths):
    """Returns variables of shape (2, 2) with these paths."""
    result = []
    for path in paths:
        *layers, name = path.split("/")
        with contextlib.ExitStack() as stack:
            for layer in layers:
                stack.enter_context(keras.name_scope(layer))
            result.append(keras.Variable(np.ones((2, 2)), name=name))
    assert [v.path for v in result] == list(paths)
    return result


def again(optimizer, others):
    """Returns the factors that the config decides on for other variables."""
    config = json.loads(json.dumps(optimizer.get_config()))
    copy = type(optimizer).from_config(config)
    copy.build(others)
    return copy.weight_decay_factors


def excluding(pattern, *paths):
    optimizer = tfwd.SGDW(0.1, 0.01, exclude_from_weight_decay=pattern)
    optimizer.build(variables(*paths))
    return optimizer


RENAMED = [
    ("^net/a/", "net/a net/b", "a b"),
    ("dense/", "dense dense_1", "dense_4 dense_7"),
    ("dense_3/", "dense_3 dense_4", "dense_2 dense_3"),
    ("^a/", "a b", "net_2/a net_2/b"),
]


@pytest.mark.parametrize(("pattern", "before", "after"), RENAMED)
def test_factors_stay_with_variables_that_come_back_renamed(
    pattern, before, after
):
    before, after = (
        [f"{layer}/kernel" for layer in layers.split()]
        for layers in (before, after)
    )
    optimizer = excluding(pattern, *before)
    assert optimizer.weight_decay_factors == (0.0, 1.0)
    assert again(optimizer, variables(*after)) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (["b/kernel", "a/kernel"], (1.0, 0.0)),
        (["c/kernel", "a/kernel"], (1.0, 0.0)),
        (["a/kernel", "a/other"], (0.0, 0.0)),
        (["a/kernel"], (0.0,)),
        (["c/kernel", "b/kernel", "a/kernel"], (1.0, 1.0, 0.0)),
    ],
)
def test_patterns_are_resolved_anew_for_another_model(after, expected):
    optimizer = excluding("a/", "a/kernel", "b/kernel")
    with pytest.warns(UserWarning, match="patterns are resolved anew"):
        assert again(optimizer, variables(*after)) == expected


def test_layers_in_another_order_are_another_model():
    optimizer = excluding("block_1/", "block_1/kernel", "block_2/kernel")
    with pytest.warns(UserWarning, match="patterns are resolved anew"):
        factors = again(
            optimizer, variables("block_2/kernel", "block_1/kernel")
        )
    assert factors == (1.0, 0.0)


def test_a_config_without_paths_is_taken_by_position():
    config = excluding("a/", "a/kernel", "b/kernel").get_config()
    for record in config["weight_decay_selection"]:
        del record["path"]
    copy = tfwd.SGDW.from_config(config)
    copy.build(variables("x/kernel", "y/kernel"))
    assert copy.weight_decay_factors == (0.0, 1.0)


def test_a_pattern_that_meets_nothing_any_more_is_told():
    optimizer = excluding("a/", "a/kernel", "b/kernel")
    copy = tfwd.SGDW.from_config(optimizer.get_config())
    with pytest.warns(UserWarning) as caught:
        copy.build(variables("b/kernel"))
    assert copy.weight_decay_factors == (1.0,)
    assert any("a/ in the weight decay pat" in str(w.message) for w in caught)
    lines = []
    copy.weight_decay_summary(lines.append)
    assert "Matches no variable: a/" in lines[0].splitlines()


def test_a_restriction_stays_with_its_variables():
    optimizer = tfwd.SGDW(0.1, 0.01)
    optimizer.build(variables("a/kernel", "b/kernel", "c/kernel"))
    optimizer.restrict_weight_decay([0.5, 0.25, 1.0])
    assert again(optimizer, variables("a/kernel", "b/kernel", "c/kernel")) == (
        0.5, 0.25, 1.0,
    )  # fmt: skip
    with pytest.warns(UserWarning, match="patterns are resolved anew"):
        factors = again(optimizer, variables("b/kernel", "new/kernel"))
    assert factors == (0.25, 1.0)


def towers():
    """Returns a model of two towers whose variables have the same paths."""

    def tower(name):
        inputs = keras.Input((4,))
        outputs = keras.layers.Dense(3, name="fc")(inputs)
        return keras.Model(inputs, outputs, name=name)

    left, right, inputs = tower("left"), tower("right"), keras.Input((4,))
    outputs = keras.layers.Add()([left(inputs), right(inputs)])
    return keras.Model(inputs, outputs), left, right


def test_these_very_variables_are_excluded_and_no_others_of_their_paths():
    model, left, right = towers()
    optimizer = tfwd.SGDW(0.5, weight_decay=0.5, momentum=0.0)
    optimizer.exclude_from_weight_decay(var_list=left.trainable_variables)
    model.compile(optimizer, "mse")
    x = np.zeros((4, 4), "float32")
    y = model.predict(x, verbose=0)
    before = [[np.copy(w) for w in m.get_weights()] for m in (left, right)]
    model.fit(x, y, verbose=0)
    np.testing.assert_array_equal(left.get_weights()[0], before[0][0])
    np.testing.assert_allclose(
        right.get_weights()[0], 0.75 * before[1][0], rtol=1e-6
    )


def test_very_variables_stay_excluded_in_a_saved_model(tmp_path):
    model, left, _ = towers()
    optimizer = tfwd.SGDW(0.5, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_list=left.trainable_variables)
    model.compile(optimizer, "mse")
    model.fit(np.ones((4, 4)), np.ones((4, 3)), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.optimizer.weight_decay_factors == (0.0, 0.0, 1.0, 1.0)


def test_very_variables_of_an_optimizer_that_is_not_built_are_known_by_path():
    optimizer = tfwd.SGDW(0.1, 0.01)
    trained = variables("a/kernel", "b/kernel")
    optimizer.exclude_from_weight_decay(var_list=trained[:1])
    loaded = variables("net/a/kernel", "net/b/kernel")
    assert again(optimizer, loaded) == (0.0, 1.0)
    twins = variables("a/kernel", "b/kernel") + variables("a/kernel")
    with pytest.warns(UserWarning, match="a/kernel, excluded .* of 2 of its"):
        assert again(optimizer, twins) == (1.0, 1.0, 1.0)


def test_variables_that_are_not_trained_are_passed_over_but_not_all():
    trained, others = variables("a/kernel", "b/kernel"), variables("c/kernel")
    optimizer = tfwd.SGDW(0.1, 0.01)
    optimizer.exclude_from_weight_decay(var_list=trained[1:] + others)
    optimizer.build(trained)
    assert optimizer.weight_decay_factors == (1.0, 0.0)
    optimizer = tfwd.SGDW(0.1, 0.01)
    optimizer.exclude_from_weight_decay(var_list=others)
    with pytest.raises(ValueError, match=r"^`var_list` must .*: c/kernel$"):
        optimizer.build(trained)
    assert not optimizer.built


def test_excluded_variables_are_no_variables_of_the_optimizer():
    optimizer = tfwd.SGD(0.1, momentum=0.0)
    before = len(optimizer.variables)
    optimizer.exclude_from_weight_decay(var_list=variables("a/kernel"))
    assert len(optimizer.variables) == before


def test_the_summary_tells_of_paths_that_no_pattern_tells_apart():
    model, *_ = towers()
    optimizer = tfwd.SGDW(0.1, 0.01, weight_decay_multipliers={"kernel": 0.5})
    optimizer.build(model.trainable_variables)
    lines = []
    optimizer.weight_decay_summary(lines.append)
    assert "Several variables are fc/kernel: no pattern tells" in lines[0]
    optimizer = tfwd.SGDW(0.1, 0.01)
    optimizer.build(networks.small_variables())
    optimizer.weight_decay_summary(lines.append)
    assert "Several" not in lines[1]


EMPTY = ["", "norm|", "|norm", ".*", "^", "$", "(kernel)?", "^(?!.*kernel)"]


@pytest.mark.parametrize("pattern", EMPTY)
def test_patterns_that_match_the_empty_string_are_refused(pattern):
    for patterns in (pattern, [pattern], ["kernel", pattern]):
        with pytest.raises(
            ValueError, match="^`exclude_from_weight_decay` mus"
        ):
            tfwd.SGDW(0.1, 0.01, exclude_from_weight_decay=patterns)
    with pytest.raises(ValueError, match="^`weight_decay_multipliers` must"):
        tfwd.SGDW(0.1, 0.01, weight_decay_multipliers={pattern: 0.5})
    with pytest.raises(ValueError, match="^`var_names` must"):
        tfwd.SGDW(0.1, 0.01).exclude_from_weight_decay(var_names=[pattern])


def test_a_list_that_was_split_from_nothing_is_refused():
    with pytest.raises(ValueError, match="empty string"):
        tfwd.SGDW(0.1, 0.01, exclude_from_weight_decay="".split(","))


@pytest.mark.parametrize("patterns", [{"kernel": 0.5}, {}, b"kernel", 3, None])
def test_what_is_no_list_of_patterns_is_refused(patterns):
    with pytest.raises(ValueError, match="must be a list of patterns"):
        tfwd.SGDW(0.1, 0.01, exclude_from_weight_decay=patterns)


def test_a_dot_stands_for_all():
    optimizer = excluding(".", "a/kernel", "b/kernel")
    assert optimizer.weight_decay_factors == (0.0, 0.0)
