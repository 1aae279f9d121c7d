"""Spectra of three layers: scree above, cumulated shares below."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from spectra.report.depth import depth_rows
from spectra.report.document import Report, at
from spectra.report.figures.style import (
    CHANCE,
    COLOURS,
    blank,
    fits,
    new_figure,
    shown,
)
from spectra.subspaces.result import PopulationFit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["CAPTION", "draw"]

CAPTION = (
    "Share of the deviations in each direction (above) and in the k leading"
    " ones together (below), of the layers with the highest, the median and"
    " the lowest effect. Dotted: isotropic. Band: the strength null, from the"
    " mean to the 95 % quantile of its draws. Grey: below the resolution"
    " floor, where arithmetic and storage make directions of nothing."
)

Layer = Mapping[str, Any]

_OBSERVED, _NULL = COLOURS[0], COLOURS[1]
_LINE = 0.92
"""Inches for a name above a panel."""
_FAR = 1e-3
"""A floor so far below the spectrum is written, not drawn."""


def draw(report: Report, _: PopulationFit, /) -> "Figure":
    """Return the figure."""
    figure = new_figure(2.9)
    layers = _chosen(report)
    above, below = figure.subplots(
        2, max(len(layers), 1), sharey="row", squeeze=False
    )
    for column, (layer, which) in enumerate(layers):
        _scree(above[column], layer)
        _cumulated(below[column], layer)
        name = _in_lines(shown(layer["name"], 1.75, 5.5))
        above[column].set_title(f"{which}\n{name}", fontsize=5.5)
    above[len(layers) // 2].set_xlabel("Direction (number)")
    below[len(layers) // 2].set_xlabel("k leading directions (number)")
    above[0].set_ylabel("Share of deviations\n(log scale)")
    below[0].set_ylabel("Cumulated share\nof deviations")
    if not layers:
        blank(above[0], "no layer has a spectrum")
        return figure
    handles, labels = below[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _in_lines(text: str) -> str:
    """Return a name in lines that fit a third of the column."""
    if fits(text, _LINE, 5.5):
        return text
    widest = next(n for n in range(len(text), 0, -1)
                  if fits(text[:n], _LINE, 5.5))  # fmt: skip
    cut = text.rfind(".", 0, widest) + 1 or widest
    return f"{text[:cut]}\n{_in_lines(text[cut:])}"


def _chosen(report: Report) -> Sequence[tuple[Layer, str]]:
    """Return up to three layers, each with what it is among all."""
    with_effect = [
        (row["excess"], -place)
        for place, row in enumerate(depth_rows(report))
        if row["excess"] is not None and _shares(report["layers"][place])
    ]
    if not with_effect:
        found = [layer for layer in report["layers"] if _shares(layer)]
        return [(layer, "") for layer in found[:1]]
    ranked = [
        report["layers"][-place]
        for _, place in sorted(with_effect, reverse=True)
    ]
    if len(ranked) < 3:
        named = zip(ranked, ("highest effect", "lowest effect"), strict=False)
        return list(named)
    return [
        (ranked[0], "highest effect"),
        (ranked[len(ranked) // 2], "median effect"),
        (ranked[-1], "lowest effect"),
    ]


def _shares(layer: Layer) -> list[float]:
    """Return the share of each direction above the floor."""
    energy = at(layer, "model_axis", "energy")
    values = at(layer, "model_axis", "eigenvalues") or ()
    if not energy:
        return []
    return [value / energy for value in values if value is not None]


def _scree(axes: "Axes", layer: Layer) -> None:
    from matplotlib.ticker import (
        FuncFormatter,
        LogLocator,
        NullFormatter,
    )

    shares = [share for share in _shares(layer) if share > 0]
    axes.plot(
        range(1, len(shares) + 1), shares, color=_OBSERVED,
        marker="." if len(shares) <= 60 else "none", markersize=2.5,
        linewidth=0.75,
    )  # fmt: skip
    axes.axhline(
        1 / max(layer["n_models"] - 1, 1), color=CHANCE, linewidth=0.75,
        linestyle=":", zorder=0,
    )  # fmt: skip
    axes.set_yscale("log")
    few = (1.0,) if max(shares) > 50 * min(shares) else (1.0, 2.0, 5.0)
    axes.yaxis.set_major_locator(LogLocator(subs=few, numticks=5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    _floor(axes, layer, min(shares))


def _floor(axes: "Axes", layer: Layer, least: float) -> None:
    floor = at(layer, "model_axis", "floor")
    if not floor:
        return
    share = floor / layer["model_axis"]["energy"]
    if share >= least * _FAR:
        axes.axhspan(0, share, color=CHANCE, alpha=0.2, linewidth=0)
        return
    axes.text(
        0.03, 0.04, f"floor {share:.0e}", transform=axes.transAxes,
        color=CHANCE, fontsize=5.5, va="bottom",
    )  # fmt: skip


def _cumulated(axes: "Axes", layer: Layer) -> None:
    total = [0.0, *accumulate(_shares(layer))]
    n = max(layer["n_models"] - 1, 1)
    axes.plot([0, n], [0, 1], color=CHANCE, linestyle=":", linewidth=0.75,
              label="isotropic (chance)")  # fmt: skip
    draws = at(layer, "model_axis", "null", "strength", "evr") or {}
    levels = sorted((k for k in draws if at(draws, k, "mean") is not None),
                    key=int)  # fmt: skip
    if levels:
        mean = [draws[k]["mean"] for k in levels]
        upper = [draws[k]["q95"] for k in levels]
        k = [int(level) for level in levels]
        axes.fill_between(k, mean, upper, color=_NULL, alpha=0.3, linewidth=0)
        axes.plot(k, mean, color=_NULL, marker="s", markersize=2,
                  linewidth=0.75, label="null, mean to 95 %")  # fmt: skip
    axes.plot(range(len(total)), total, color=_OBSERVED, label="observed")
    axes.set_ylim(0, 1.02)
    axes.set_xlim(0, n)
