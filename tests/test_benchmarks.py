"""The benchmarks run; what they find is measured elsewhere."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import SCRIPTS
from benchmarks.figures import Row, at_least, at_most, paired, ratio
from benchmarks.page import DOCS, put, table

HERE = Path(__file__).parents[1]
NO_SCRIPTS = {
    "__init__", "__main__", "adapters", "figures", "page", "replication",
}  # fmt: skip


def run(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=HERE, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout


@pytest.mark.parametrize("name", [*SCRIPTS, "gpu"])
def test_each_script_starts(name):
    assert "--json" in run(f"benchmarks.{name}", "--help")


def test_make_bench_runs_every_script():
    there = {path.stem for path in (HERE / "benchmarks").glob("*.py")}
    # That of a GPU has a page and a target of its own.
    assert there - NO_SCRIPTS == {*SCRIPTS, "gpu"}


def test_full_weights_of_a_small_population(tmp_path):
    """It holds its own spectrum to the replication's before it measures."""
    out = tmp_path / "rows.json"
    printed = run(
        "benchmarks.dense", "--small", "--rounds", "1", "--json", str(out)
    )
    rows = [Row(**row) for row in json.loads(out.read_text())]
    assert [str(row) for row in rows] == printed.splitlines()
    assert rows[0].figure.endswith("times")
    assert "replication" in rows[0].beside


def test_a_goal_is_met_or_missed():
    fast = at_least("x", "1 s", "peer 9 s", 9.0, 10)
    small = at_most("y", 2.0, "s", 2)
    free = at_most("z", 3.0, "MB", None)
    assert [row.met for row in (fast, small, free)] == [False, True, None]
    assert str(fast).endswith("(goal at least 10 times: MISSED)")
    assert table([fast]).splitlines()[-1].endswith("| MISSED |")


@pytest.mark.parametrize("name", ["performance.md", "gpu.md"])
def test_figures_take_the_place_of_older_ones(tmp_path, name):
    page, old = tmp_path / name, (DOCS / name).read_text()
    page.write_text(old)
    for text in ("first", "second"):
        put(page, text)
    begin, end = "<!-- figures -->", "<!-- end of figures -->"
    before, after = old.partition(begin)[0], old.partition(end)[2]
    new = f"{begin}\n\nsecond\n\n{end}"
    assert page.read_text() == before + new + after


def test_programs_take_turns():
    order = []
    took = paired(
        {"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 2
    )
    assert order == ["a", "b"] * 3
    assert [len(times) for times in took.values()] == [2, 2]
    # The median of ratios, not the ratio of medians.
    assert ratio([1.0, 8.0, 9.0], [1.0, 2.0, 9.0]) == 1.0
