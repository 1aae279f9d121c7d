"""The rule of a side, row by row, and what it does to its layer."""

import pytest

from spectra.core.settings import OverlapSettings
from spectra.statistics.sides.verdict import Excess, SideEvidence, judge_side
from spectra.statistics.verdict.rule import of_layer

SETTINGS = OverlapSettings()


def excess(value, z=50.0):
    return Excess(0.3 + value, 0.3, z)


def judged(every, alone, *, n_alone=20, n_starts=20, n_members=20):
    found = SideEvidence(16, n_members, n_alone, n_starts, every, alone)
    return judge_side(found, SETTINGS)


CASES = {
    "nothing": ((0.0, 0.0), {}, "not-shared"),
    "just below": ((0.0199, 0.0199), {}, "not-shared"),
    "a little": ((0.021, 0.021), {}, "weakly-shared"),
    "just below much": ((0.0999, 0.0999), {}, "weakly-shared"),
    "much": ((0.101, 0.101), {}, "shared"),
    "only by one start": (
        (0.4, 0.0), {"n_alone": 15, "n_starts": 15}, "shared-initialisation",
    ),
    "only by relatives": ((0.4, 0.0), {"n_alone": 15}, "shared-lineage"),
    "with and without them": (
        (0.4, 0.05), {"n_alone": 15, "n_starts": 15}, "weakly-shared",
    ),
    "few groups of one start": (
        (0.4, 0.4), {"n_alone": 4, "n_starts": 4}, "shared-initialisation",
    ),
    "few groups that share nothing": (
        (0.0, 0.0), {"n_alone": 4, "n_starts": 4}, "too-few-models",
    ),
    "few members, all apart": (
        (0.4, 0.4), {"n_alone": 4, "n_starts": 4, "n_members": 4},
        "too-few-models",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_each_row_of_the_rule(case):
    (every, alone), counts, word = CASES[case]
    verdict, why = judged(excess(every), excess(alone), **counts)
    assert verdict == word
    shown = "too few" if word == "too-few-models" else "0.300 where"
    assert shown in why


def test_an_excess_that_draws_reach_is_an_accident():
    assert judged(excess(0.4, 2.9), excess(0.4, 2.9))[0] == "not-shared"
    assert judged(excess(0.4, 3.1), excess(0.4, 3.1))[0] == "shared"


def test_the_reason_says_whose_numbers_it_gives():
    assert judged(excess(0.2), excess(0.2))[1].startswith("16 directions")
    less = judged(excess(0.2), excess(0.15), n_alone=15)[1]
    assert less.startswith("of 15 members, one a group, 16 directions")
    assert "0.450 of the energy" in less


@pytest.mark.parametrize("name", ["output", "input"])
def test_a_random_start_of_a_side_is_that_of_its_layer(name):
    axis = "not-shared", ("because",)
    clear = {"verdict": "weakly-shared", "reasons": ["r"]}
    sides = {"output": clear, "input": clear}
    assert of_layer(axis, sides) == axis
    sides[name] = {"verdict": "shared-initialisation", "reasons": ["seed"]}
    assert of_layer(axis, sides) == (
        "shared-initialisation", (f"{name} side: seed", "because"),
    )  # fmt: skip
    known = "shared-initialisation", ("because",)
    assert of_layer(known, sides) == known
