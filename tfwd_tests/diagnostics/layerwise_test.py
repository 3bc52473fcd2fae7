"""Layer-wise rate decay, from the graph or by blocks."""

import keras
import numpy as np
import pytest
from keras import layers

import tfwd


def by_layer(model, *arguments, **keywords):
    """Returns {layer's name: the multiplier of its variables}."""
    multipliers = tfwd.layerwise(model, *arguments, **keywords)
    optimizer = tfwd.SGD(learning_rate_multipliers=multipliers)
    optimizer.build(model.trainable_variables)
    found = {}
    for variable, factor in zip(
        model.trainable_variables,
        optimizer.learning_rate_factors,
        strict=True,
    ):
        name = variable.path.split("/")[-2]
        assert found.setdefault(name, factor) == factor, name
    return found


def dense(*names, inputs=3):
    chain = [layers.Dense(3, name=name) for name in names]
    return keras.Sequential([keras.Input((inputs,)), *chain])


def test_each_layer_has_a_power_of_the_factor_and_the_head_one():
    assert by_layer(dense("a", "b", "c"), 0.5) == {"a": 0.25, "b": 0.5, "c": 1}


def test_the_default_factor_is_three_quarters():
    assert by_layer(dense("a", "b")) == {"a": 0.75, "b": 1}


def test_a_normalization_is_of_the_weight_layer_before_it():
    x = inputs = keras.Input((8, 8, 3))
    for name in "ab":
        x = layers.Conv2D(4, 3, name=name)(x)
        x = layers.BatchNormalization(name=f"bn_{name}")(x)
        x = layers.Dropout(0.5)(layers.ReLU()(x))
    x = layers.Dense(2, name="head")(layers.GlobalAveragePooling2D()(x))
    assert by_layer(keras.Model(inputs, x), 0.5) == {
        **{"a": 0.25, "bn_a": 0.25, "b": 0.5, "bn_b": 0.5, "head": 1}
    }


def test_branches_count_along_the_longest_way_and_heads_side_by_side_are_one():
    inputs = keras.Input((3,))
    stem = layers.Dense(3, name="stem")(inputs)
    long = layers.Dense(3, name="long_2")(layers.Dense(3, name="long_1")(stem))
    short = layers.Dense(3, name="short")(stem)
    x = long + short
    outputs = [layers.Dense(1, name=f"head_{i}")(x) for i in (0, 1)]
    outputs.append(layers.Dense(1, name="early_head")(stem))
    assert by_layer(keras.Model(inputs, outputs), 0.5) == {
        "stem": 0.125,
        "long_1": 0.25,
        "long_2": 0.5,
        "short": 0.5,
        "head_0": 1,
        "head_1": 1,
        "early_head": 1,
    }


def test_embeddings_side_by_side_are_as_deep_as_each_other():
    tokens = keras.Input((4,), dtype="int32")
    places = keras.Input((4,), dtype="int32")
    x = layers.Embedding(9, 6, name="tokens")(tokens)
    x = x + layers.Embedding(4, 6, name="places")(places)
    x = layers.LayerNormalization(name="norm")(x)
    x = layers.MultiHeadAttention(2, 3, name="attention")(x, x)
    model = keras.Model([tokens, places], layers.Dense(2, name="head")(x))
    found = {}
    multipliers = tfwd.layerwise(model, 0.5)
    for variable, value in zip(
        model.trainable_variables, multipliers.values(), strict=True
    ):
        found.setdefault(variable.path.split("/")[0], set()).add(value)
    assert found == {
        "tokens": {0.25},
        "places": {0.25},
        "norm": {0.25},
        "attention": {0.5},
        "head": {1.0},
    }


def test_nested_models_are_entered():
    inputs = keras.Input((3,))
    inner = keras.Model(inputs, dense("a", "b")(inputs), name="backbone")
    outer = keras.Sequential([keras.Input((3,)), inner, layers.Dense(1)])
    outer.layers[-1].name = "head"
    values = list(tfwd.layerwise(outer, 0.5).values())
    assert values == [0.25, 0.25, 0.5, 0.5, 1, 1]


def test_a_shared_layer_has_the_rate_of_its_use_nearest_to_the_input():
    inputs = keras.Input((3,))
    shared = layers.Dense(3, name="shared")
    x = shared(layers.Dense(3, name="middle")(shared(inputs)))
    assert by_layer(keras.Model(inputs, x), 0.5) == {
        "shared": 0.25,
        "middle": 0.5,
    }


def test_frozen_layers_count_and_are_not_in_the_result():
    model = dense("a", "b", "c")
    model.layers[1].trainable = False
    assert by_layer(model, 0.5) == {"a": 0.25, "c": 1}


def blocks_model(norm=True):
    """Returns a model of two blocks of two layers, as BEiT is laid out."""
    x = inputs = keras.Input((3,))
    x = layers.Dense(3, name="embed")(x)
    for i in (1, 2):
        h = layers.LayerNormalization(name=f"block_{i}_norm")(x)
        h = layers.Dense(5, name=f"block_{i}_in")(h)
        x = x + layers.Dense(3, name=f"block_{i}_out")(h)
        x = layers.Dense(3, name=f"after_{i}")(x)
    x = layers.LayerNormalization(name="final_norm")(x)
    return keras.Model(inputs, layers.Dense(2, name="head")(x))


BEIT = {
    "embed": 0.125,
    **dict.fromkeys(["block_1_norm", "block_1_in", "block_1_out"], 0.25),
    "after_1": 0.25,
    **dict.fromkeys(["block_2_norm", "block_2_in", "block_2_out"], 0.5),
    **{"after_2": 1, "final_norm": 1, "head": 1},
}


def test_blocks_by_patterns_are_counted_as_in_beit():
    model = blocks_model()
    patterns = [f"block_{i}_" for i in (1, 2)]
    assert by_layer(model, 0.5, patterns) == BEIT


def test_a_block_may_be_a_layer_or_a_model():
    inner = dense("x", "y")
    block = dense("z")
    model = keras.Sequential(
        [keras.Input((3,)), inner, block, layers.Dense(1, name="head")]
    )
    values = list(tfwd.layerwise(model, 0.5, [inner, block]).values())
    assert values == [0.25] * 4 + [0.5] * 2 + [1] * 2


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.a, self.b = (layers.Dense(3, name=name) for name in "ab")

    def call(self, x):
        return self.b(self.a(x))


def test_a_model_without_a_graph_is_refused_but_for_its_blocks():
    model = Subclassed()
    model(np.ones((1, 3), "float32"))
    with pytest.raises(
        ValueError, match="^`model` must be a functional or seq"
    ):
        tfwd.layerwise(model)
    assert by_layer(model, 0.5, ["a/"]) == {"a": 0.5, "b": 1}


def test_a_model_that_is_not_built_is_refused():
    with pytest.raises(ValueError, match="that is built, or .* Received: mode"):
        tfwd.layerwise(keras.Sequential([layers.Dense(3)]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"factor": 0.0}, r"^`factor` must be in \(0, 1\]. Received: factor=0"),
        ({"factor": 1.5}, r"^`factor` must be in \(0, 1\]"),
        ({"blocks": "a"}, "^`blocks` must be a list of patterns or layers"),
        ({"blocks": []}, "^`blocks` must be a list of patterns or layers"),
        ({"blocks": [3]}, "^`blocks` must be a list of patterns or layers"),
        ({"blocks": ["("]}, "^`blocks` must hold regular expressions"),
        ({"blocks": ["x/"]}, "^`blocks` must each .* 'x/', which matches none"),
        ({"blocks": ["a/", "."]}, r"'\.', which has .*a/kernel of block 1$"),
        ({"blocks": [layers.Dense(1)]}, "^`blocks` must each .*matches none"),
    ],
)
def test_a_bad_argument_is_refused_in_a_line(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        tfwd.layerwise(dense("a", "b"), **arguments)
    assert "\n" not in str(error.value)


def test_paths_that_no_pattern_tells_apart_are_refused():
    # Both towers have a layer `fc`; one is a layer deeper.
    inputs, towers = keras.Input((3,)), []
    for depth in (0, 1):
        x = own = keras.Input((3,))
        x = layers.Dense(3, name="fc")(x)
        for i in range(depth):
            x = layers.Dense(3, name=f"more_{i}")(x)
        towers.append(keras.Model(own, x))
    outputs = layers.Add()([tower(inputs) for tower in towers])
    model = keras.Model(inputs, outputs)
    with pytest.raises(ValueError, match="fc/kernel for (1|0.5) and (0.5|1)$"):
        tfwd.layerwise(model, 0.5)


def test_a_loaded_model_is_fine_tuned_by_it(tmp_path):
    dense("a", "b", "c").save(tmp_path / "model.keras")
    model = keras.saving.load_model(tmp_path / "model.keras")
    optimizer = tfwd.AdamW(
        0.5, 0.1, learning_rate_multipliers=tfwd.layerwise(model, 0.5)
    )
    model.compile(optimizer, "mse")
    before = model.get_weights()
    model.fit(np.ones((8, 3)), np.ones((8, 3)), batch_size=8, verbose=0)
    # Adam's first step is η·sign(g); the biases are zeros, and do not decay.
    steps = [
        np.abs(after - start).max()
        for start, after in zip(before, model.get_weights(), strict=True)
    ]
    np.testing.assert_allclose(steps[1::2], [0.125, 0.25, 0.5], rtol=1e-4)
