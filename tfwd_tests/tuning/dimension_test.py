"""What `--search` says of one value, against points worked out by hand.

Covers `ranges` and `searchable`.
"""

import keras_tuner
import numpy as np
import pytest

from tfwd.tuning.values import dimension
from tfwd.tuning.values import searchable

FLAGS = {
    **{name: searchable.FIELDS[name] for name in searchable.SEARCHED},
    "stable": None,
}


def points(text):
    return dimension.parse(text, FLAGS).points()


def test_log_points_of_whole_decades_are_powers_of_ten():
    assert points("learning_rate=log:1e-4:1e-1:7") == (
        *(1e-4, 0.0003162277660, 1e-3, 0.003162277660),
        *(1e-2, 0.03162277660, 1e-1),
    )
    assert points("weight_decay=log:1e-6:1e-3:4") == (1e-6, 1e-5, 1e-4, 1e-3)


def test_log_points_have_equal_ratios_and_linear_ones_equal_differences():
    log = np.array(points("learning_rate=log:3e-5:0.7:11"))
    np.testing.assert_allclose(log[1:] / log[:-1], (0.7 / 3e-5) ** 0.1, 1e-8)
    assert points("momentum=linear:0.5:0.9:5") == (0.5, 0.6, 0.7, 0.8, 0.9)


def test_whole_numbers_stay_whole_and_come_once():
    found = points("epochs=log:1:4:7")
    assert found == (1, 2, 3, 4)
    assert {type(each) for each in found} == {int}
    assert points("batch_size=linear:32:128:4") == (32, 64, 96, 128)


def test_ends_are_the_ones_given_to_the_last_digit():
    text = "learning_rate=log:0.000123456789012:0.123456789012345:3"
    low, _, high = points(text)
    assert (low, high) == (0.000123456789012, 0.123456789012345)


def test_choices_have_the_type_of_their_flag():
    assert points("optimizer=choice:adamw,adams") == ("adamw", "adams")
    assert points("batch_norm=choice:true,false") == (True, False)
    assert points("epochs=choice:20,10") == (20, 10)
    assert points("weight_decay=choice:0,1,5e-4") == (0.0, 1.0, 5e-4)
    assert type(points("weight_decay=choice:1")[0]) is float
    assert points("stable=choice:1e-4") == (1e-4,)
    assert points("model=choice:mlp,mine.nets:small")[1] == "mine.nets:small"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("learning_rate=log:1e-4:1e-1", float),
        ("momentum=linear:0:0.9", float),
        ("batch_size=log:16:512", int),
        ("epochs=linear:1:30", int),
        ("weight_decay=choice:1e-4,0", float),
        ("epochs=choice:3,5", int),
        ("batch_norm=choice:false,true", bool),
        ("batch_norm=choice:true", bool),
        ("optimizer=choice:adamw,adams", str),
    ],
)
def test_keras_tuner_draws_values_of_the_flag_after_a_journey(text, kind):
    one = dimension.parse(text, FLAGS)
    hp = keras_tuner.HyperParameters()
    one.declare(hp)
    hp = keras_tuner.HyperParameters.from_config(hp.get_config())
    hp = keras_tuner.HyperParameters.from_proto(hp.to_proto())
    assert hp.values[one.name] == one.ends[0]
    (parameter,) = hp.space
    drawn = [parameter.random_sample(seed) for seed in range(30)]
    assert {type(each) for each in drawn} == {kind}
    if isinstance(one, dimension.Choice):
        assert set(drawn) == set(one.values)
    else:
        assert one.low <= min(drawn) < max(drawn) <= one.high
        middle = (one.low * one.high) ** 0.5
        is_log = sum(each < middle for each in drawn) > 8
        assert is_log == (one.sampling == "log")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        *(
            (text, "`--search` must be NAME=log:LOW:HIGH:N")
            for text in (
                *("", "learning_rate", "learning_rate=", "=log:1:2"),
                *("learning_rate=1e-3", "learning_rate=log", "a=ln:1:2:3"),
                "learning_rate=Log:1:2:3",
            )
        ),
        ("lr=log:1:2:3", "`--search` must name a flag of the training, or a"),
        ("learning_rate=log:1", "`--search` must be NAME=log:LOW:HIGH, with"),
        ("learning_rate=log:1:2:3:4", "`--search` must be NAME=log:LOW:HIGH"),
        ("learning_rate=log:2:1:3", "`--search` must have a LOW below its H"),
        ("learning_rate=log:1:1:3", "`--search` must have a LOW below its H"),
        ("learning_rate=log:0:1:3", "`--search` must have a LOW above 0"),
        *(
            (f"learning_rate=log:1:2:{n}", "`--search` must have an N of 2 to")
            for n in ("1", "0", "-3", "3.0", "", "1001", "9" * 5000, "x")
        ),
        *(
            (f"stable=choice:{n}", "`--search` must have decimal numbers that")
            for n in ("x", "", "1,", "nan", "inf", "0x1", "1_0", " 1", "1e-60")
        ),
        ("stable=log:1e-4:x:3", "`--search` must have decimal numbers that"),
        ("epochs=choice:1.5", "`--search` must have integers for --epo"),
        ("epochs=log:1:1e2:3", "`--search` must have integers for --ep"),
        ("batch_norm=choice:yes", "`--search` must have true or false"),
        ("batch_norm=log:0:1:2", "`--search` must be a choice for --batch_n"),
        ("optimizer=linear:1:2:2", "`--search` must be a choice for --optim"),
        ("optimizer=choice:adamw,adamx", "`--optimizer` must be one of sgd"),
        ("momentum=linear:0:1:3", "`--momentum` must be below 1"),
        ("epochs=choice:0", "`--epochs` must be at least 1"),
        ("convention=choice:mine", "`--convention` must be one of zhang2019"),
        ("stable=choice:1e-4,0.0001", "`--search` must have each value once"),
    ],
)
def test_malformed_search_is_refused_in_one_line(text, message):
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        dimension.parse(text, FLAGS)
    assert "\n" not in str(caught.value)
    assert "Received: --" in str(caught.value) and text in str(caught.value)
