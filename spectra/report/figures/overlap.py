"""Who overlaps with whom in the most-shared layer, and who is related."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from spectra.report.depth import depth_rows
from spectra.report.document import Report
from spectra.report.figures.style import (
    CHANCE,
    COLOURS,
    MUTED,
    blank,
    chance_line,
    new_figure,
    shown,
)
from spectra.report.pairs import (
    MEASURES,
    Matrix,
    Measure,
    Tree,
    elbows,
    tree,
)
from spectra.subspaces.result import LayerFit, PopulationFit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["CAPTION", "MOST", "draw"]

CAPTION = (
    "Overlap of the output sides, and of the input sides, of each pair of"
    " members in the layer with the highest lower end of its effect; members"
    " in the order of average linkage, each map its own. Trees above: two"
    " branches join at one less the mean overlap between their members."
    " Strips: members of one lineage group, and of one random start, have one"
    " colour; grey are members alone in theirs. Mark on the scale, dashes in"
    " the tree: chance."
)

MOST = 1000
"""Members drawn: of more, so many at even distances."""

_PAPER_TO_INK = ("#f3f1ea", "#b9d5da", "#6da6bb", "#2c7094", "#0e3459")
_ALONE = "#efede7"
_GROUPS = {"lineage": "group", "start": "init_group"}


def draw(report: Report, fit: PopulationFit, /) -> "Figure":
    """Return the figure."""
    figure = new_figure(3.2, between=0.02)
    layer = _most_shared(report, fit)
    if layer is None:
        blank(figure.subplots(), "no layer could be held out")
        return figure
    ids = [fit.models[member].id for member in layer.members]
    models = {model["id"]: model for model in report["population"]["models"]}
    n = len(ids)
    few = range(0, n, math.ceil(n / MOST))
    axes = figure.subplots(3, 2, height_ratios=(3, 1, 8))
    colours = [
        _colours([models.get(ids[i], {}).get(key) for i in few])
        for key in _GROUPS.values()
    ]
    sides = [measure for measure in MEASURES if measure.key != "cosine"]
    for column, measure in enumerate(sides):
        matrix = measure.matrix(layer)[np.ix_(few, few)]
        found = tree(matrix)
        order, chance = found.order, _chance(measure, layer)
        _tree(axes[0, column], found, chance)
        strips = [[strip[i] for i in order] for strip in colours]
        _strips(axes[1, column], strips, list(_GROUPS) if not column else [])
        _map(figure, axes[2, column], matrix[np.ix_(order, order)], chance)
        axes[0, column].set_title(measure.title)
    axes[0, 0].set_ylabel("1 − overlap", fontsize=6)
    of = f"{len(few)} of {n}" if len(few) < n else f"{n}"
    axes[2, 0].set_ylabel(f"{of} members")
    figure.suptitle(shown(layer.name, 3.3, 7), fontsize=7)
    return figure


def _most_shared(report: Report, fit: PopulationFit) -> LayerFit | None:
    known = [
        (row["low"], -place)
        for place, row in enumerate(depth_rows(report))
        if row["low"] is not None
    ]
    if not known:
        return None
    best = report["layers"][-max(known)[1]]
    # One layer at a time: a fit may read its layers as they are asked for.
    for layer in fit.layers:
        if (layer.architecture, layer.name, list(layer.shape)) == (
            best["architecture"], best["name"], best["shape"]
        ):  # fmt: skip
            return layer
    return None


def _chance(measure: Measure, layer: LayerFit) -> float:
    pairs = np.triu_indices(len(layer.members), 1)
    return float(measure.chance(layer)[pairs].mean())


def _tree(axes: "Axes", found: Tree, chance: float) -> None:
    from matplotlib.collections import LineCollection

    lines = elbows(found.joins)
    lines[:, :, 1] = 1 - lines[:, :, 1]
    # Leaves are at 0.
    lines = np.nan_to_num(lines, nan=0.0)
    axes.add_collection(
        LineCollection(list(lines), colors="black", linewidths=0.5),
        autolim=False,
    )
    chance_line(axes, 1 - chance)
    axes.set_xlim(-0.5, len(found.order) - 0.5)
    highest = max(float(lines[:, :, 1].max(initial=0.0)), 1 - chance)
    axes.set_ylim(0.0, 1.05 * highest or 1.0)
    axes.set_xticks([])
    axes.spines[["top", "right", "bottom"]].set_visible(False)


def _strips(
    axes: "Axes", strips: Sequence[Sequence[str]], names: Sequence[str]
) -> None:
    from matplotlib.colors import to_rgb

    rows = [[to_rgb(colour) for colour in strip] for strip in strips]
    axes.imshow(rows, aspect="auto", interpolation="none")
    axes.set_xticks([])
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0, labelsize=5)
    axes.spines[:].set_visible(False)
    axes.axhline(0.5, color="white", linewidth=1.5)


def _colours(members: Sequence[Any]) -> list[str]:
    """Return a colour for each member: the largest groups have their own."""
    counts = Counter(group for group in members if group is not None)
    several = [group for group, n in counts.most_common() if n > 1]
    own = dict(zip(several, COLOURS, strict=False))
    others = dict.fromkeys(several, MUTED)
    return [(others | own).get(group, _ALONE) for group in members]


def _map(
    figure: "Figure", axes: "Axes", matrix: Matrix, chance: float
) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    colours = LinearSegmentedColormap.from_list("overlap", _PAPER_TO_INK)
    np.fill_diagonal(matrix, np.nan)
    known = matrix[np.isfinite(matrix)]
    top = float(known.max()) if known.size else 1.0
    image = axes.imshow(
        np.ma.masked_invalid(matrix), cmap=colours, vmin=0.0, aspect="equal",
        vmax=max(top, chance) or 1.0, interpolation="none",
    )  # fmt: skip
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_anchor("N")
    axes.set_facecolor(MUTED)  # Behind what is undefined.
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, location="bottom", pad=0.03,
                          aspect=22)  # fmt: skip
    bar.outline.set_visible(False)
    bar.ax.axvline(chance, color=COLOURS[1], linewidth=1.0)
    bar.set_label(f"overlap (chance {chance:.2g})", color=CHANCE)
