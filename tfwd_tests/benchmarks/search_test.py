"""The benchmark of a search runs at a small size and prints its rows."""

import re

from tfwd_tests.benchmarks import search


def test_benchmark_prints_a_row_for_each_kind(capsys):
    search.main(["--trials=20", "--repeats=3"])
    out = capsys.readouterr().out
    rows = re.findall(r"^(\w+) +([\d.]+) +([\d.]+) +<= 100 +\d+$", out, re.M)
    assert [name for name, _, _ in rows] == ["grid", "random"]
    assert all(0 < float(median) <= float(most) for _, median, most in rows)
