"""report.json, and JSON inside a page."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spectra.report.document import at, json_text, levels_of, script_json

TEXTS = st.text(st.characters(), max_size=20)
DOCUMENTS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=8,
)


@given(st.dictionaries(TEXTS, DOCUMENTS, max_size=4))
def test_json_comes_back_as_it_was(document: dict[str, Any]) -> None:
    written = json_text(document).encode("utf-8")
    assert json.loads(written) == document


@given(DOCUMENTS)
def test_no_markup_stands_in_script_json(document: Any) -> None:
    text = script_json(document)
    assert json.loads(text) == document
    assert text.isascii()
    assert not set("<>&") & set(text)


def test_foreign_text_is_left_alone() -> None:
    text = json_text({"id": "Größe </b> \u202e", "half": "\udfff"})
    assert "Größe </b> \u202e" in text
    assert "\\udfff" in text


def test_keys_are_sorted_and_lines_end_in_lf(report: dict[str, Any]) -> None:
    text = json_text(report)
    found = json.loads(text, object_pairs_hook=list)
    keys = [key for key, _ in found]
    assert keys == sorted(report)
    assert "\r" not in text
    assert text.endswith("}\n")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_undefined_numbers_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_text({"value": value})
    with pytest.raises(ValueError, match="not JSON compliant"):
        script_json({"value": value})


def test_a_missing_step_is_none(report: dict[str, Any]) -> None:
    layer = report["layers"][0]
    assert at(layer, "model_axis", "held_out", "effect", "k") == 4
    assert at(layer, "model_axis", "held_out", "missing", "k") is None
    assert at(None, "model_axis") is None


def test_levels_are_in_order_of_size(report: dict[str, Any]) -> None:
    report["layers"][2]["model_axis"]["evr"]["9"] = 0.7
    assert levels_of(report) == ("1", "4", "9", "16")


def paths_of(value: Any, path: str = "") -> set[str]:
    """Return the path of every key; levels of k and verdicts are values."""
    if isinstance(value, list):
        return set().union(*(paths_of(item, path) for item in value))
    if not isinstance(value, dict):
        return set()
    named = {
        key: inner
        for key, inner in value.items()
        if not key.isdecimal() and not path.endswith(("counts", "settings"))
    }
    inner = (paths_of(item, f"{path}.{key}") for key, item in value.items())
    return {f"{path}.{key}" for key in named}.union(*inner)


def test_the_sample_has_only_keys_of_real_reports(
    report: dict[str, Any], measured: dict[str, Any]
) -> None:
    # What became of tensors is known with the run's catalogue alone.
    about_the_run = re.compile(r"\.(settings|environment|coverage)\b")
    made_up = {
        path for path in paths_of(report) if not about_the_run.match(path)
    }
    assert made_up - paths_of(measured) == set()
    assert ".layers.model_axis.held_out.effect.low" in made_up
