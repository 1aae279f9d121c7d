"""The rule, one boundary at a time."""

import dataclasses

import pytest

from spectra.core.settings import OverlapSettings
from spectra.statistics.effect import Effect
from spectra.statistics.evidence import Evidence
from spectra.statistics.model_axis import Mean
from spectra.statistics.verdict import RULES, counted, judge, percent

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


def test_every_rule_is_in_the_table():
    assert {name for name, _ in RULES} == {expected for expected, _ in TABLE}


def test_thresholds_are_settings():
    found = evidence({"low": 0.05, "p": 0.03})
    lax = OverlapSettings(alpha=0.05, shared=0.05)
    assert judge(found, lax)[0] == "shared"
    strict = OverlapSettings(alpha=0.05, weakly_shared=0.06)
    assert judge(found, strict)[0] == "not-shared"


def test_reasons_name_the_numbers():
    _, (why, mean) = judge(
        evidence({"low": 0.3, "p": LOWEST_P, "mean": Mean(0.58, 0.52, 0.6)}),
        SETTINGS,
    )
    assert "4 directions" in why
    assert "33 %" in why
    assert "2.0 %" in why
    assert "0.300" in why
    assert "0.005" in why
    assert "58 %" in mean
    assert "52 %" in mean
    _, (why, mean) = judge(evidence({"largest_start": 11}), SETTINGS)
    assert why.startswith("11 of 20 members share one random start")
    assert "0.3" in why
    assert "no better than zero" in mean


def test_verdicts_are_counted_in_the_order_of_the_rules():
    found = counted(["not-shared", "shared", "not-shared"])
    assert list(found.items()) == [("shared", 1), ("not-shared", 2)]


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.4321, "43 %"), (0.0661, "6.6 %"), (0.00912, "0.9 %"), (0, "0 %")],
)
def test_percent(share, text):
    assert percent(share) == text
