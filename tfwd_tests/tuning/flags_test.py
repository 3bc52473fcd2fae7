"""The flags of a search: their rules, and none that the training has too."""

import pytest

from tfwd.training.config import fields
from tfwd.training.config import flag_help
from tfwd.training.config import flagfile
from tfwd.training.config import settings
from tfwd.tuning import flags


def test_flags_are_read_and_helped_as_those_of_the_training():
    found = flagfile.parse(
        ["--tuner=random", "--search=a=log:1:2", "--search=b=choice:1"],
        flags.Search,
    )
    assert found == flags.Search(
        tuner="random", search=("a=log:1:2", "b=choice:1")
    )
    text = flag_help.text(flags.Search)
    assert "Search:" in text
    assert "needs --tuner=random or bayesian" in " ".join(text.split())


def test_no_flag_has_the_name_of_one_of_the_training():
    names = [
        {field.name for field in fields.of(kind)}
        for kind in (flags.Search, settings.Settings)
    ]
    assert names[0] & names[1] == set()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tuner": "bayes"}, "`--tuner` must be one of grid, random"),
        ({"select_on": "last"}, "`--select_on` must be one of final, best"),
        ({"trials_per_cell": 0}, "`--trials_per_cell` must be at least 1"),
        ({"max_trials": 3}, "`--max_trials` must not be given for --tuner=gr"),
        (
            {"max_trials": 3, "tuner": "hyperband"},
            "`--max_trials` must not be given for --tuner=hyperband",
        ),
        ({"max_trials": 0, "tuner": "random"}, "`--max_trials` must be at le"),
        (
            {"prune": "median", "tuner": "hyperband"},
            "`--prune` must be none for --tuner=hyperband",
        ),
        ({"search": ("a\n",)}, "`--search` must be one line"),
    ],
)
def test_flag_that_breaks_a_rule_is_refused_in_one_line(given, message):
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        flags.Search(**given)
    assert "\n" not in str(caught.value) and "Received: --" in str(caught.value)


def test_trials_are_those_asked_for_where_the_tuner_draws():
    assert flags.Search().trials is None
    assert flags.Search(tuner="hyperband").trials is None
    assert flags.Search(tuner="random").trials == 20
    assert flags.Search(tuner="bayesian", max_trials=7).trials == 7
