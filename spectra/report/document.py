"""The report document: how it is looked into, and its own JSON file."""

import json
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["Report", "at", "json_text", "levels_of", "script_json"]

Report = Mapping[str, Any]

_SURROGATE = re.compile("[\ud800-\udfff]")
_ACTIVE_IN_HTML = re.compile("[<>&]")


def at(value: Any, /, *path: str) -> Any:
    """Return what lies at `path`, or None where a step of it is missing.

    Examples
    --------
    >>> at({"null": {"strength": None}}, "null", "strength", "draws")
    """
    for step in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(step)
    return value


def levels_of(report: Report, /) -> tuple[str, ...]:
    """Return every level of k that some layer reports, smallest first."""
    found = {
        level
        for layer in report["layers"]
        for level in at(layer, "model_axis", "evr") or ()
    }
    return tuple(sorted(found, key=int))


def json_text(report: Report, /) -> str:
    r"""Return the text of ``report.json``.

    Foreign text stands as it was found. Half a surrogate pair, which UTF-8
    cannot hold, is written as its escape.

    Raises
    ------
    ValueError
        A number is not finite: undefined numbers are None.

    Examples
    --------
    >>> print(json_text({"b": "\ud800", "a": "é"}), end="")
    {
     "a": "é",
     "b": "\ud800"
    }
    """
    text = json.dumps(
        report, allow_nan=False, ensure_ascii=False, indent=1, sort_keys=True
    )
    return _SURROGATE.sub(_escape, text) + "\n"


def script_json(value: Any, /) -> str:
    r"""Return JSON that can stand inside an HTML script element.

    Examples
    --------
    >>> script_json(["</script>"])
    '["\\u003c/script\\u003e"]'
    """
    # ASCII only: U+2028, U+2029 and surrogates are escapes already.
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return _ACTIVE_IN_HTML.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"
