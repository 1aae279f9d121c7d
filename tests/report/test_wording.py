"""Numbers and findings in words."""

from typing import Any

import pytest

from spectra.report.wording import grouping, headline, number


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (0, "0"),
        (0.0, "0"),
        (12345, "12,345"),
        (0.12345, "0.123"),
        (-0.0104, "-0.010"),
        (0.0005, "0.001"),
        (0.000499, "5e-4"),
        (-3.21e-8, "-3.2e-8"),
        (123.456, "123.5"),
        (2.5e7, "2.5e7"),
        ("vacuous", "vacuous"),
    ],
)
def test_numbers_are_short_and_never_look_like_zero(
    value: Any, shown: str
) -> None:
    assert number(value) == shown


def test_copies_are_no_relatives(report: dict[str, Any]) -> None:
    models, found = report["population"]["models"], report["population"]
    ids = [model["id"] for model in models]
    assert models[4]["duplicate_of"] == ids[3]
    found["lineage"]["groups"] = [ids[3:5], ids[5:8], ids[8:9]]
    assert "3 checkpoints descend from one another, in 1 group of" in (
        grouping(report, "lineage")
    )
    found["lineage"]["groups"] = [ids[3:5], ids[5:6]]
    assert "no two checkpoints descend" in grouping(report, "lineage")


def test_a_grouping_says_by_what_it_was_made(report: dict[str, Any]) -> None:
    found = report["population"]
    said = grouping(report, "initialisation")
    assert "cosine of raw lora_A above 0.3; the groups are the same" in said
    assert "from 0.08 to 0.71" in said
    found["lineage"] |= {
        "threshold": None,
        "stable_range": None,
        "threshold_reason": "groups were given",
    }
    assert grouping(report, "lineage").endswith("(groups were given).")
    found["initialisation"] = None
    found["initialisation_reason"] = "no layer has factors to compare"
    assert grouping(report, "initialisation") == (
        "Initialisation: not compared, since no layer has factors to compare."
    )


def test_the_headline_is_the_first_clause() -> None:
    text = "5 models: all not-shared; the mean predicts nothing; so it is."
    assert headline({"verdict": {"text": text}}) == (
        "5 models: all not-shared.",
        "The mean predicts nothing; so it is.",
    )
    assert headline({"verdict": {"text": "One."}}) == ("One.", "")
