"""Text of any origin in Markdown, where it means just itself."""

import html
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from spectra.core.text import printable

__all__ = ["table", "text"]

_MARKS = re.compile(r"[\\`*\[\]#~$]|(?<![^\W_])_|_(?![^\W_])")
_LINKS = {"|": "&#124;", "://": "&#58;//", "@": "&#64;", "www.": "www&#46;"}
"""What would end a cell, or be made a link or a mention by the renderer."""


def table(
    titles: Sequence[str], rows: Iterable[Iterable[str]], /, *, n_text: int
) -> Iterator[str]:
    """Yield the lines of a table.

    Parameters
    ----------
    titles, rows
        Cells, in Markdown.
    n_text
        So many columns are words; the others are numbers.
    """
    sides = [":--"] * n_text + ["--:"] * (len(titles) - n_text)
    for cells in (titles, sides, *rows):
        yield f"| {' | '.join(cells)} |"


def text(value: Any, /) -> str:
    """Return text of any origin as Markdown that means just that text."""
    if value is None:
        return "–"
    shown = html.escape(printable(str(value), limit=sys.maxsize), quote=False)
    # Marks first: what replaces links holds a mark itself.
    shown = _MARKS.sub(lambda mark: f"\\{mark[0]}", shown)
    for active, harmless in _LINKS.items():
        shown = shown.replace(active, harmless)
    return shown
