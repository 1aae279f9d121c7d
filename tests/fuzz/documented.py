"""The codes that the documentation knows: a reader gives no other."""

import re
from pathlib import Path

__all__ = ["CODES", "PAGE", "documented"]

PAGE = Path(__file__).parents[2] / "docs" / "codes.md"

CODES = frozenset(
    re.findall(r"^\| `([A-Z0-9_]+)` \|", PAGE.read_text(), re.MULTILINE)
)


def documented(code):
    """Return a code, which must be one that the page explains."""
    assert code in CODES, code
    return code
