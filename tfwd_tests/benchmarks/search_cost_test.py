"""The benchmark of what a search costs runs at a small size."""

import re

import pytest

from tfwd_tests.benchmarks import search_cost


@pytest.mark.full
def test_benchmark_prints_the_cost_and_the_memory(capsys):
    cost, growth = search_cost.main(["--trials=3", "--runs=1"])
    first, second = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"A trial takes .* 30 s \(aim <= 0\.9 s\)", first)
    assert f"the search {cost:.3f} s" in first
    assert "after trial 3:" in second and f"({growth:+.1f} %" in second
