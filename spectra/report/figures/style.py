"""One look for all figures, and their bytes: one column, text left as text."""

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from spectra.core.errors import UsageError
from spectra.core.text import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "CHANCE",
    "COLOURS",
    "MUTED",
    "blank",
    "chance_line",
    "encoded",
    "fits",
    "new_figure",
    "shown",
    "styled",
]

WIDTH = 3.5
"""Inches: one column of a paper."""

COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9",
    "#000000",
)  # fmt: skip
"""Those of Okabe and Ito (2008), told apart by colour-blind readers too; not
their yellow, which is too faint for a line on paper."""

CHANCE = "#6d7780"
MUTED = "#c9c5bb"
_FONT = "DejaVu Sans"  # Comes with matplotlib: the same on each machine.

_STYLE = {
    "font.family": _FONT,
    "font.size": 7.0,
    "axes.titlesize": 7.0,
    "axes.labelsize": 7.0,
    "xtick.labelsize": 6.0,
    "ytick.labelsize": 6.0,
    "legend.fontsize": 6.0,
    "legend.title_fontsize": 6.0,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.5,
    "xtick.major.width": 0.5,
    "ytick.major.width": 0.5,
    "xtick.major.size": 2.0,
    "ytick.major.size": 2.0,
    "xtick.minor.size": 0.0,
    "ytick.minor.size": 0.0,
    "lines.linewidth": 1.0,
    "lines.markersize": 3.0,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "spectra",
    # A name with two dollar signs in it is a name.
    "text.parse_math": False,
}


@contextmanager
def styled() -> Iterator[None]:
    """Draw in our style, whatever the user's own matplotlibrc says.

    Raises
    ------
    UsageError
        When matplotlib is not installed.
    """
    try:
        import matplotlib.style
    except ImportError as error:
        raise UsageError(
            "E_EXTRA",
            "figures need matplotlib",
            advice="pip install 'hf-spectra[figures]'",
        ) from error
    with matplotlib.style.context(["default", _STYLE]):
        yield


def new_figure(height: float, /, *, between: float | None = None) -> "Figure":
    """Return an empty figure, a column wide and so many inches high.

    Parameters
    ----------
    height
        Of the figure.
    between
        Inches between its panels, one above another; None for the usual.
    """
    # Not pyplot, which keeps every figure in the process.
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(h_pad=between, hspace=between)
    return Figure(figsize=(WIDTH, height), layout=layout)


def shown(text: str, /, inches: float, size: float = 6.0) -> str:
    """Return foreign text as a figure may show it, cut until it fits.

    Its middle goes, since layers differ at both ends. What the font has no
    sign for becomes an escape.
    """
    known = _signs()
    whole = "".join(
        sign
        if ord(sign) in known
        else sign.encode("unicode_escape").decode("ascii")
        for sign in printable(text, sys.maxsize)
    )
    limit = min(len(whole), 200)
    while not fits(printable(whole, limit), inches, size) and limit > 5:
        limit -= 1
    return printable(whole, limit)


def fits(text: str, inches: float, size: float, /) -> bool:
    """Return whether a line of text of so many points is no wider."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family=_FONT, size=size)
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, False)
    return bool(width <= 72 * inches)


@cache
def _signs() -> frozenset[int]:
    from matplotlib.font_manager import findfont, get_font

    return frozenset(get_font(findfont(_FONT)).get_charmap())


def chance_line(axes: "Axes", level: float, /, **more: Any) -> None:
    """Mark what chance would give, behind everything else."""
    axes.axhline(
        level, color=CHANCE, linewidth=0.75, linestyle=(0, (4, 2)), zorder=0,
        **more,
    )  # fmt: skip


def blank(axes: "Axes", why: str, /) -> None:
    """Say in the place of empty axes why there is nothing in them."""
    axes.set_axis_off()
    axes.text(
        0.5, 0.5, why, transform=axes.transAxes, color=CHANCE,
        ha="center", va="center",
    )  # fmt: skip


def encoded(figure: "Figure", form: str, title: str, caption: str) -> bytes:
    """Return a figure as ``svg`` or ``pdf``; equal figures, equal bytes."""
    told: dict[str, Any] = {"Title": title, "Creator": "spectra"}
    if form == "pdf":
        told |= {"Subject": caption, "CreationDate": None}
    else:
        told |= {"Description": caption, "Date": None}
    buffer = io.BytesIO()
    figure.savefig(buffer, format=form, metadata=told)
    # Where that font is not at hand the text is without serifs as well.
    return buffer.getvalue().replace(
        b"font-family: 'DejaVu Sans';",
        b"font-family: 'DejaVu Sans', sans-serif;",
    )
