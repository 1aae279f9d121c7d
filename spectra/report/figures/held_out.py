"""What directions hold of members that took no part, by their number."""

from statistics import median
from typing import TYPE_CHECKING

from spectra.report.document import Report, at, levels_of
from spectra.report.figures.style import (
    CHANCE,
    COLOURS,
    blank,
    new_figure,
)
from spectra.subspaces.result import PopulationFit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["CAPTION", "draw"]

CAPTION = (
    "Share of a held-out lineage group's deviation that k directions of the"
    " other groups carry, beside k random directions of their span (chance)."
    " Lines: median over layers; bands: their range."
)

Levels = dict[int, list[float]]


def draw(report: Report, _: PopulationFit, /) -> "Figure":
    """Return the figure."""
    figure = new_figure(2.1)
    axes = figure.subplots()
    captured = _by_level(report, "captured")
    _band(axes, captured, COLOURS[0], "o", "-", "population's directions")
    _band(axes, _by_level(report, "captured_random"), CHANCE, "s", "--",
          "random directions (chance)")  # fmt: skip
    axes.set_xlabel("Directions k")
    axes.set_ylabel("Captured of held-out groups\n(share of deviation)")
    if not captured:
        blank(axes, "no layer could be held out")
        return figure
    axes.set_xscale("log", base=2)
    axes.set_xticks(list(captured), [str(k) for k in captured])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper left", title=_layers(captured), alignment="left")
    return figure


def _by_level(report: Report, name: str) -> Levels:
    """Return by k what each layer has of it, layers without one left out."""
    found: Levels = {}
    for level in levels_of(report):
        values = [
            at(layer, "model_axis", "held_out", name, level)
            for layer in report["layers"]
        ]
        known = [value for value in values if value is not None]
        if known:
            found[int(level)] = known
    return found


def _layers(captured: Levels) -> str:
    counts = sorted({len(values) for values in captured.values()})
    ends = "–".join(str(n) for n in dict.fromkeys((counts[0], counts[-1])))
    return f"median and range, {ends} layer{'s' if ends != '1' else ''}"


def _band(
    axes: "Axes", levels: Levels, colour: str, mark: str, dash: str, label: str
) -> None:
    k = list(levels)
    low, high = ([f(values) for values in levels.values()] for f in (min, max))
    middle = [median(values) for values in levels.values()]
    axes.fill_between(k, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.plot(k, middle, color=colour, marker=mark, linestyle=dash,
              label=label)  # fmt: skip
    if len(k) == 1:  # A band of one level has no width.
        axes.vlines(k, low, high, color=colour, alpha=0.5)
