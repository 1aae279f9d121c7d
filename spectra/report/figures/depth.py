"""How sharedness goes with depth: a line for each type of module."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING

from spectra.report.depth import depth_rows
from spectra.report.document import Report
from spectra.report.figures.style import (
    COLOURS,
    MUTED,
    blank,
    chance_line,
    fits,
    new_figure,
    shown,
)
from spectra.report.rows import Row
from spectra.report.wording import n_of
from spectra.subspaces.result import PopulationFit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["CAPTION", "draw"]

CAPTION = (
    "Effect of each layer: the share of a held-out group's deviation that k"
    " directions of the other groups carry, less what k random directions of"
    " their span carry (chance, 0), with its 95 % interval over groups, at"
    " the k of the layer's effect. A line for each type of module."
)

_MARKS = "os^DvPX"
_APART = 0.09
"""Of a layer: what intervals of one layer are drawn apart."""

Lines = Mapping[str, Sequence[Row]]


def draw(report: Report, _: PopulationFit, /) -> "Figure":
    """Return the figure."""
    lines = _lines(report)
    if not lines:
        figure = new_figure(2.0)
        blank(figure.subplots(), "no layer could be held out")
        return figure
    many = sorted(lines, key=lambda name: -len(lines[name]))[: len(COLOURS)]
    coloured = [name for name in lines if name in many]
    others = [rows for name, rows in lines.items() if name not in many]
    start = _in_common(coloured)
    labels = [shown(name.removeprefix(start), 1.3) for name in coloured]
    columns = 3 if all(fits(label, 0.8, 6.0) for label in labels) else 2
    entries = len(labels) + bool(others) + 1
    figure = new_figure(2.1 + 0.14 * -(-entries // columns))
    axes = figure.subplots()
    last = _last(lines)
    for i, name in enumerate(coloured):
        offset = (i - (len(coloured) - 1) / 2) * _APART
        _line(axes, lines[name], i, last + 2, offset, labels[i])
    _others(axes, others, last)
    chance_line(axes, 0.0, label="chance")
    _axes(axes, lines, last)
    figure.legend(
        loc="outside upper left",
        ncols=columns,
        title=shown(f"{start}…", 3.3) if start else None,
        alignment="left",
    )
    return figure


def _lines(report: Report) -> Lines:
    """Return the layers that have an effect, by type of module."""
    rows = [row for row in depth_rows(report) if row["excess"] is not None]
    several = len({row["architecture"] for row in rows}) > 1
    lines = defaultdict(list)
    for row in rows:
        behind = f" ({row['architecture']})" if several else ""
        lines[row["module"] + behind].append(row)
    return {
        name: sorted(found, key=lambda r: (not _placed(r), r["index"] or 0))
        for name, found in lines.items()
    }


def _placed(row: Row) -> bool:
    return row["index"] is not None


def _last(lines: Lines) -> int:
    """Return the largest number of a layer, -1 where none has one."""
    rows = [row for found in lines.values() for row in found]
    return max((row["index"] for row in rows if _placed(row)), default=-1)


def _in_common(names: Sequence[str]) -> str:
    """Return the words that all names begin with; none is left empty."""
    if len(names) == 1:
        return ""
    words = zip(*(name.split(".")[:-1] for name in names), strict=False)
    same = takewhile(lambda each: len(set(each)) == 1, words)
    return "".join(f"{each[0]}." for each in same)


def _line(
    axes: "Axes", rows: Iterable[Row], i: int, aside: int, offset: float,
    label: str,
) -> None:  # fmt: skip
    """Draw one type; a layer without a number stands to the right of all."""
    rows = list(rows)
    x = [(r["index"] if _placed(r) else aside) + offset for r in rows]
    known = [
        (at, row)
        for at, row in zip(x, rows, strict=True)
        if row["low"] is not None and row["high"] is not None
    ]
    axes.vlines(
        [at for at, _ in known],
        [row["low"] for _, row in known],
        [row["high"] for _, row in known],
        color=COLOURS[i], linewidth=0.75, alpha=0.55,
    )  # fmt: skip
    n = sum(map(_placed, rows))
    y = [row["excess"] for row in rows]
    axes.plot(
        x[:n] or x, y[:n] or y, color=COLOURS[i], marker=_MARKS[i],
        label=label, linestyle="-" if n else "none",
    )  # fmt: skip
    if 0 < n < len(rows):
        axes.plot(
            x[n:], y[n:], color=COLOURS[i], marker=_MARKS[i], linestyle="none"
        )


def _others(axes: "Axes", lines: Sequence[Sequence[Row]], last: int) -> None:
    label: str | None = n_of(len(lines), "other type")
    for rows in lines:
        x = [r["index"] if _placed(r) else last + 2 for r in rows]
        y = [row["excess"] for row in rows]
        axes.plot(
            x, y, color=MUTED, marker=".", linewidth=0.6, zorder=1,
            label=label,
        )  # fmt: skip
        label = None


def _axes(axes: "Axes", lines: Lines, last: int) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_ylabel("Held-out capture above random\n(share of deviation)")
    axes.set_xlabel("Layer (its number in the network)")
    locator = MaxNLocator(nbins=8, integer=True, min_n_ticks=1)
    ticks = [t for t in locator.tick_values(0, max(last, 1)) if 0 <= t <= last]
    labels = [f"{tick:.0f}" for tick in ticks]
    rows = [row for found in lines.values() for row in found]
    aside = not all(map(_placed, rows))
    if aside:
        ticks, labels = [*ticks, last + 2], [*labels, "none"]
    axes.set_xticks(ticks, labels)
    axes.set_xlim(-0.6, (last + 2 if aside else max(last, 0)) + 0.6)
