"""The rule, one boundary at a time."""

import dataclasses
import re

import pytest

from spectra.core.settings import OverlapSettings
from spectra.report.wording import VERDICTS as MEANINGS
from spectra.statistics.model_axis.effect import Effect
from spectra.statistics.model_axis.findings import Mean
from spectra.statistics.plain import percent
from spectra.statistics.verdict.evidence import Evidence
from spectra.statistics.verdict.rule import (
    RULES,
    VERDICTS,
    counted,
    judge,
    overall,
)

SETTINGS = OverlapSettings()


def effect(low):
    return Effect(4, low + 0.01, low, low + 0.02, low + 0.03, 0.02)


PLAIN = Evidence(
    n_members=20,
    n_groups=20,
    n_related=0,
    largest_start=1,
    effect=effect(0.0),
    one_per_start=effect(0.0),
    learned_mean=True,
    mean=Mean(0.0, -0.01, 0.01),
    evr_k=4,
    evr=0.21,
    isotropic=4 / 19,
    p=0.5,
)
LOWEST_P = 1 / 200

TABLE = [
    ("not-shared", {}),
    ("not-shared", {"p": None}),
    ("not-shared", {"effect": None, "p": None}),
    # 1: more than half of the members have one start, or the effect hangs
    # on members that share one.
    ("shared-initialisation", {"largest_start": 11}),
    ("not-shared", {"largest_start": 10}),
    ("shared-initialisation", {"low": 0.3, "alone": 0.019, "p": LOWEST_P}),
    ("shared", {"low": 0.3, "alone": 0.02, "p": LOWEST_P}),
    ("shared-initialisation", {"low": 0.3, "alone": None, "p": LOWEST_P}),
    ("shared-initialisation", {"largest_start": 11, "n_groups": 2}),
    ("shared-initialisation", {"largest_start": 11, "n_related": 20}),
    # 2: a quarter is related, and groups are few or share nothing.
    ("shared-lineage", {"n_related": 5}),
    ("not-shared", {"n_related": 4}),
    ("shared-lineage", {"n_related": 5, "low": 0.3, "n_groups": 4}),
    ("shared", {"n_related": 20, "low": 0.3, "p": LOWEST_P}),
    ("shared-lineage", {"n_related": 20, "low": 0.0199, "p": LOWEST_P}),
    # 3
    ("too-few-models", {"n_groups": 4, "low": 0.3, "p": LOWEST_P}),
    ("shared", {"n_groups": 5, "low": 0.3, "p": LOWEST_P}),
    # 4 and 5
    ("shared", {"low": 0.10, "p": LOWEST_P}),
    ("weakly-shared", {"low": 0.0999, "p": LOWEST_P}),
    ("weakly-shared", {"low": 0.02, "p": LOWEST_P}),
    ("not-shared", {"low": 0.0199, "p": LOWEST_P}),
    ("not-shared", {"low": 0.3, "p": 0.01}),
    ("not-shared", {"low": 0.3, "p": None}),
    # 6
    ("shared-mean-only", {"mean": Mean(0.1, 0.021, 0.2)}),
    ("not-shared", {"mean": Mean(0.1, 0.02, 0.2)}),
    ("not-shared", {"mean": None, "learned_mean": False}),
    ("shared", {"mean": Mean(0.6, 0.5, 0.7), "low": 0.3, "p": LOWEST_P}),
    # 7
    ("explained-by-norms", {"evr": 8 / 19}),
    ("not-shared", {"evr": 7.9 / 19}),
    ("not-shared", {"evr": 8 / 19, "p": LOWEST_P}),
    ("not-shared", {"evr": float("nan")}),
    ("not-shared", {"evr": 8 / 19, "p": None}),
]


def evidence(changes):
    changes = dict(changes)
    if "low" in changes:
        changes["effect"] = effect(changes.pop("low"))
        changes["one_per_start"] = changes["effect"]
    if "alone" in changes:
        alone = changes.pop("alone")
        changes["one_per_start"] = None if alone is None else effect(alone)
    return dataclasses.replace(PLAIN, **changes)


@pytest.mark.parametrize(("expected", "changes"), TABLE)
def test_the_first_rule_that_applies_decides(expected, changes):
    verdict, reasons = judge(evidence(changes), SETTINGS)
    assert verdict == expected
    assert len(reasons) == 2
    assert all("nan" not in reason and reason for reason in reasons)
    assert reasons[1].startswith("the mean")


def test_every_verdict_is_in_the_table_and_stands_in_the_order_of_rules():
    assert set(VERDICTS) == {expected for expected, _ in TABLE}
    assert tuple(dict.fromkeys(rule.word for rule in RULES)) == VERDICTS
    assert tuple(dict.fromkeys(word for word, _ in ORDER)) == VERDICTS
    assert set(MEANINGS) == set(VERDICTS)


ORDER = [
    ("shared-initialisation", {"largest_start": 11}),
    ("shared-lineage", {"n_related": 20, "n_groups": 4}),
    ("too-few-models", {"n_groups": 4}),
    ("shared", {"low": 0.3, "p": LOWEST_P}),
    ("weakly-shared", {"low": 0.05, "p": LOWEST_P}),
    ("shared-mean-only", {"mean": Mean(0.6, 0.5, 0.7)}),
    ("explained-by-norms", {"evr": 0.9}),
    ("not-shared", {}),
]


@pytest.mark.parametrize("first", range(len(ORDER)))
def test_an_earlier_rule_wins_over_all_later_ones(first):
    """Evidence for a word and, as far as it can be, for all that follow."""
    changes = {}
    for _, more in reversed(ORDER[first:]):
        changes |= more
    assert judge(evidence(changes), SETTINGS)[0] == ORDER[first][0]


@pytest.mark.parametrize(
    ("setting", "value", "changes", "word"),
    [
        ("fewest_groups", 3, {"n_groups": 4}, "not-shared"),
        ("fewest_groups", 21, {}, "too-few-models"),
        (
            "fewest_groups", 21, {"n_related": 5, "low": 0.3, "p": 0.001},
            "shared-lineage",
        ),
        ("related_share", 0.2, {"n_related": 4}, "shared-lineage"),
        ("related_share", 0.3, {"n_related": 5}, "not-shared"),
        ("weakly_shared", 0.06, {"low": 0.05, "p": LOWEST_P}, "not-shared"),
        ("weakly_shared", 0.01, {"low": 0.015, "p": 0.001}, "weakly-shared"),
        (
            "weakly_shared", 0.01, {"low": 0.05, "alone": 0.015, "p": 0.001},
            "weakly-shared",
        ),
        ("shared", 0.05, {"low": 0.05, "p": LOWEST_P}, "shared"),
        ("alpha", 0.05, {"low": 0.3, "p": 0.03}, "shared"),
        ("alpha", 0.05, {"evr": 8 / 19, "p": 0.03}, "not-shared"),
        ("shared_mean", 0.05, {"mean": Mean(0.1, 0.05, 0.2)}, "not-shared"),
        (
            "shared_mean", 0.01, {"mean": Mean(0.1, 0.015, 0.2)},
            "shared-mean-only",
        ),
        ("uneven", 1.5, {"evr": 6 / 19}, "explained-by-norms"),
        ("uneven", 2.5, {"evr": 8 / 19}, "not-shared"),
    ],
)  # fmt: skip
def test_thresholds_are_settings(setting, value, changes, word):
    found = evidence(changes)
    changed = dataclasses.replace(SETTINGS, **{setting: value})
    assert judge(found, changed)[0] == word
    assert judge(found, SETTINGS)[0] != word


def numbers(text):
    return set(re.findall(r"-?\d+(?:\.\d+)?(?: %)?", text))


@pytest.mark.parametrize(
    ("word", "changes", "shown"),
    [
        ("shared-initialisation", {"largest_start": 11}, "11 20 0.3"),
        (
            "shared-initialisation",
            {"low": 0.3, "alone": 0.011},
            "0.300 0.011 0.02",
        ),
        (
            "shared-lineage",
            {"n_related": 7},
            "7 20 25_% 4 3.0_% 2.0_% 0.010 0.000 0.02",
        ),
        (
            "shared-lineage", {"n_related": 7, "n_groups": 3}, "7 20 25_% 3 5",
        ),
        ("too-few-models", {"n_groups": 3}, "3 5"),
        (
            "shared", {"low": 0.3, "p": 0.005},
            "4 33_% 2.0_% 0.310 0.300 0.1 0.005 0.01",
        ),
        (
            "weakly-shared", {"low": 0.05, "p": 0.005},
            "4 8.0_% 2.0_% 0.060 0.050 0.02 0.005 0.01",
        ),
        (
            "shared-mean-only",
            {"mean": Mean(0.6, 0.52, 0.7)},
            "2 0.520 0.02 4 3.0_% 2.0_% 0.010 0.000 0.5 0.01",
        ),
        (
            "explained-by-norms", {"evr": 0.9},
            "4 90_% 21_% 2 0.5 0.01 3.0_% 2.0_% 0.010 0.000 0.02",
        ),
        ("not-shared", {}, "4 3.0_% 2.0_% 0.010 0.000 0.02 0.5 0.01"),
        ("not-shared", {"effect": None, "p": None}, ""),
    ],
)  # fmt: skip
def test_reasons_carry_the_numbers_that_decided(word, changes, shown):
    verdict, (why, _) = judge(evidence(changes), SETTINGS)
    assert verdict == word
    expected = {each.replace("_", " ") for each in shown.split()}
    assert numbers(why) == expected


def test_reasons_show_the_thresholds_that_held():
    found = evidence({"low": 0.3, "p": 0.005})
    other = OverlapSettings(shared=0.25, alpha=0.02)
    _, (why, _) = judge(found, other)
    assert "at least 0.300, threshold 0.25" in why
    assert "0.005 (threshold 0.02)" in why


def layers(**counts):
    return [
        word.replace("_", "-") for word, n in counts.items() for _ in range(n)
    ]


@pytest.mark.parametrize(
    ("counts", "word"),
    [
        ({"shared": 1}, "shared"),
        ({"shared": 7, "not_shared": 5}, "shared"),
        ({"not_shared": 7, "shared_initialisation": 5}, "not-shared"),
        # A half is no majority.
        ({"shared": 6, "not_shared": 6}, "mixed"),
        ({"shared": 4, "weakly_shared": 2, "not_shared": 6}, "mixed"),
        # The lesser of two strengths, and of two denials.
        ({"shared": 6, "weakly_shared": 1, "not_shared": 6}, "weakly-shared"),
        ({"shared": 7, "weakly_shared": 1, "not_shared": 6}, "weakly-shared"),
        ({"shared": 8, "weakly_shared": 1, "not_shared": 6}, "shared"),
        ({"explained_by_norms": 6, "not_shared": 1, "shared": 6},
         "not-shared"),
        ({"explained_by_norms": 6, "shared_mean_only": 6}, "mixed"),
        # The more frequent artefact, the first of equal ones.
        ({"shared_initialisation": 3, "shared_lineage": 4, "shared": 6},
         "shared-lineage"),
        ({"shared_initialisation": 4, "shared_lineage": 3, "shared": 6},
         "shared-initialisation"),
        ({"shared_lineage": 2, "shared_initialisation": 2},
         "shared-initialisation"),
        ({"too_few_models": 2, "shared_lineage": 2}, "mixed"),
        ({}, None),
    ],
)  # fmt: skip
def test_the_word_for_all_layers(counts, word):
    found = layers(**counts)
    assert overall(found) == word
    assert overall(found[::-1]) == word


def test_the_mean_is_told_beside_every_verdict():
    told = {"low": 0.3, "p": LOWEST_P, "mean": Mean(0.58, 0.52, 0.6)}
    _, (_, mean) = judge(evidence(told), SETTINGS)
    assert "58 %" in mean
    assert "52 %" in mean
    _, (_, mean) = judge(evidence({"largest_start": 11}), SETTINGS)
    assert "no better than zero" in mean
    _, (_, mean) = judge(evidence({"mean": None}), SETTINGS)
    assert "cannot be measured" in mean
    _, (_, mean) = judge(evidence({"learned_mean": False}), SETTINGS)
    assert "common start" in mean


def test_verdicts_are_counted_in_the_order_of_the_rules():
    found = counted(["not-shared", "shared", "not-shared"])
    assert list(found.items()) == [("shared", 1), ("not-shared", 2)]


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.4321, "43 %"), (0.0661, "6.6 %"), (0.00912, "0.9 %"), (0, "0 %")],
)
def test_percent(share, text):
    assert percent(share) == text
