"""docs/faults.md names tests that are there, and has every row."""

import ast
import re
from functools import cache
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "faults.md").read_text("utf-8")
NAMED = re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE)


@cache
def functions_of(path):
    tree = ast.parse((TESTS / path).read_text("utf-8"))
    return {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}


def test_each_test_that_is_named_is_there():
    assert len(NAMED) > 90
    assert [(p, n) for p, n in NAMED if n not in functions_of(p)] == []


def test_nothing_else_stands_in_the_last_cells():
    rows = [
        line for line in PAGE.splitlines() if re.match(r"\| [A-F]\d", line)
    ]
    cells = [line.strip("|").split("|")[2] for line in rows]
    one = r"`[\w/]+\.py::test_\w+`"
    assert [
        c for c in cells if not re.fullmatch(f" ({one}(, {one})*)? ?", c)
    ] == []


def test_each_row_is_there_once():
    first = re.findall(r"^\| ([A-F][^|]*?) \|", PAGE, re.MULTILINE)
    rows = []
    for cell in first:
        for part in cell.split(", "):
            begin, _, end = part.partition("-")
            numbers = range(int(begin[1:]), int((end or begin)[1:]) + 1)
            rows += [f"{begin[0]}{number}" for number in numbers]
    assert len(set(rows)) == len(rows)
    for letter, count in (
        ("A", 28),
        ("B", 19),
        ("C", 13),
        ("D", 11),
        ("F", 10),
    ):
        expected = {f"{letter}{number}" for number in range(1, count + 1)}
        assert expected <= set(rows)
