"""What the page's script is given: a layer's curves, maps and sentences."""

import math
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from spectra.core.text import printable
from spectra.report.cohort import Cohort, plane
from spectra.report.depth import depth_rows
from spectra.report.document import Report, at, levels_of
from spectra.report.pairs import (
    MEASURES,
    Matrix,
    Measure,
    coded,
    pack,
    tree,
)
from spectra.report.rows import Row, layer_rows
from spectra.report.wording import number
from spectra.subspaces.result import LayerFit, PopulationFit

__all__ = ["MAP_BUDGET", "explorer"]

MAP_BUDGET = 4 * 2**20
"""Characters of maps in one page, at most: it opens in a second or two."""

_FEWEST, _PER_PLACE = 300 * 2**10, 30
"""Characters of maps that any page may have, and for each layer's member."""

_MOST_ASIDE = 20
"""Entries of what was set aside that are shown of one checkpoint."""

_95 = "95\u00a0%"


def explorer(report: Report, fit: PopulationFit, /) -> dict[str, Any]:
    """Return the JSON-able document that the page's script draws from.

    Layers with the largest effect get their maps first, until the budget is
    spent; ``pairs.csv`` has every pair.
    """
    rows, levels = layer_rows(report), levels_of(report)
    places = {
        (row["architecture"], row["name"], row["out"], row["in"]): index
        for index, row in enumerate(rows)
    }
    mapped = set(_affordable(rows))
    cohort = Cohort(len(fit.models), len(rows))
    maps = {}
    # One layer at a time: a fit may read its layers as they are asked for.
    for layer in fit.layers:
        index = places.get((layer.architecture, layer.name, *layer.shape))
        if index is None:
            continue
        cohort.add(index, layer)
        if index in mapped:
            maps[index] = _maps(layer)
    return {
        "levels": levels,
        "thresholds": _thresholds(report),
        "models": _models(report, fit),
        "together": _together(cohort),
        "layers": [
            _layer(layer, row, levels) | depth | {"map": maps.get(index)}
            for index, (layer, row, depth) in enumerate(
                zip(report["layers"], rows, _depths(report), strict=True)
            )
        ],
    }


def _shown(value: Any) -> str | None:
    return None if value is None else printable(str(value))


def _thresholds(report: Report) -> dict[str, float]:
    asked = at(report, "settings", "overlap")
    names = ("weakly_shared", "shared")
    known = {name: at(asked, name) for name in names}
    return {name: value for name, value in known.items() if value is not None}


def _models(report: Report, fit: PopulationFit) -> list[dict[str, Any]]:
    known = {model["id"]: model for model in report["population"]["models"]}
    aside: dict[str, list[list[str | None]]] = {}
    for entry in (*report["quarantine"], *(report.get("left_out") or ())):
        aside.setdefault(entry["id"], []).append(
            [_shown(entry["layer"]), entry["code"], _shown(entry["detail"])]
        )
    return [
        {
            "name": _shown(model.id),
            "group": _shown(at(known, model.id, "group")),
            "start": _shown(at(known, model.id, "init_group")),
            "copy_of": _shown(at(known, model.id, "duplicate_of")),
            "revision": _shown(at(known, model.id, "revision")),
            "license": _shown(at(known, model.id, "license")),
            "norm": at(known, model.id, "norm"),
            "n_aside": len(aside.get(model.id, ())),
            "aside": aside.get(model.id, [])[:_MOST_ASIDE],
        }
        for model in fit.models
    ]


def _together(cohort: Cohort) -> dict[str, Any]:
    cosines = cohort.mean()
    found = plane(cosines)
    return {
        "cosines": pack(cosines, low=-1.0),
        **_tree(cosines, low=-1.0),
        "by_layer": coded(cohort.to_others.ravel(), low=-1.0),
        "typical": [
            None if np.isnan(row).all() else _rounded(np.nanmedian(row))
            for row in cohort.to_others
        ],
        "places": found and [
            None if np.isnan(x) else [_rounded(x), _rounded(y)]
            for x, y in found.places
        ],
        "share": found and [_rounded(value) for value in found.share],
        "chance": found and _rounded(found.chance),
    }  # fmt: skip


def _depths(report: Report) -> Iterator[dict[str, Any]]:
    """Yield where in the network each layer lies, and its excess."""
    rows = depth_rows(report)
    n_of = Counter(row["module"] for row in rows)
    for row in rows:
        excess = [row[key] for key in ("excess", "low", "high")]
        yield {
            "module": _shown(row["module"]),
            # The only one of its type has no depth to be compared along.
            "index": None if n_of[row["module"]] < 2 else row["index"],
            "excess": None
            if None in excess
            else [_rounded(value, 6) for value in excess],
        }


def _affordable(rows: Sequence[Row]) -> Iterator[int]:
    def effect(index: int) -> float:
        low = rows[index]["effect_low"]
        return -math.inf if low is None else float(low)

    places = sum(row["n_models"] for row in rows)
    left = min(MAP_BUDGET, max(_FEWEST, _PER_PLACE * places))
    for index in sorted(range(len(rows)), key=effect, reverse=True):
        n = rows[index]["n_models"]
        # Two bytes a pair and a join, four characters for three bytes.
        left -= len(MEASURES) * ((n + 2) * (n - 1) * 4 // 3 + 4 * n)
        if left < 0:
            return
        yield index


def _maps(layer: LayerFit) -> dict[str, Any]:
    d_out, d_in = layer.shape
    return {
        "members": list(layer.members),
        "ranks": [int(rank) for rank in layer.ranks],
        "measures": [_map(measure, layer) for measure in MEASURES],
        "width": {"output_overlap": d_out, "input_overlap": d_in},
        "spread": _rounded(1 / math.sqrt(d_out * d_in)),
    }


def _map(measure: Measure, layer: LayerFit) -> dict[str, Any]:
    matrix = measure.matrix(layer)
    return {
        "key": measure.key,
        "title": _title(measure, layer),
        "low": measure.low,
        "codes": pack(matrix, low=measure.low),
        **_tree(matrix, low=measure.low),
    }


def _tree(matrix: Matrix, *, low: float) -> dict[str, Any]:
    found = tree(matrix)
    return {"order": found.order, "joins": coded(found.joins, low=low)}


def _title(measure: Measure, layer: LayerFit) -> str:
    if measure.key == "cosine" and layer.kind == "dense":
        return "Cosine of the weights"
    return measure.title


def _layer(
    layer: Mapping[str, Any], row: Row, levels: Sequence[str]
) -> dict[str, Any]:
    energy = row["energy"] or None
    return {
        "name": _shown(row["name"]),
        "verdict": row["verdict"],
        "n": row["n_models"],
        "k": row["shown_k"],
        "share": [
            None if value is None or energy is None
            else _rounded(value / energy)
            for value in layer["model_axis"].get("eigenvalues") or ()
        ],
        "even": _maybe(row["participation_ratio"]),
        "floor": None if energy is None or row["floor"] is None
        else _rounded(row["floor"] / energy),
        "explained": _points(row, levels, "evr_{}"),
        "norms": _points(row, levels, "expected_norms_{}"),
        "nulls": {
            _shown(name): _points(
                row, levels, f"null_{name}_mean_{{}}", f"null_{name}_q95_{{}}"
            )
            for name, null in (layer["model_axis"].get("null") or {}).items()
            if null.get("statistic", "evr") == "evr"
        },
        "held_out": _points(row, levels, "captured_{}", "captured_random_{}"),
        "r2": _maybe(row["r2_mean"]),
        "sides": {
            side: _side(layer.get(f"{side}_side"), levels)
            for side in ("output", "input")
        },
        "facts": _facts(row),
        "reasons": [
            printable(reason, limit=sys.maxsize)
            for reason in layer["reasons"]
        ],
    }  # fmt: skip


_MOST_DIRECTIONS = 32
"""Of a side's spectrum: beyond them it is flat."""


def _side(side: Any, levels: Sequence[str]) -> dict[str, Any] | None:
    if not side:
        return None
    drawn = at(side, "null", "side-strength", "evr")
    first = next(iter(at(side, "consensus") or ()), None)
    return {
        "verdict": side.get("verdict"),
        "reasons": [
            printable(reason, limit=sys.maxsize)
            for reason in side.get("reasons") or ()
        ],
        "held": [
            _rounded(value)
            for value in (at(side, "projector_mean") or ())[:_MOST_DIRECTIONS]
        ],
        "edge": _maybe(at(side, "projector_edge")),
        "chance": _maybe(at(first, "chance")),
        "overlap": _maybe(at(side, "overlap_mean")),
        "overlap_chance": _maybe(at(side, "overlap_null")),
        "explained": _at_levels(levels, at(side, "evr")),
        "null": _at_levels(
            levels,
            {k: at(drawn, k, "mean") for k in levels},
            {k: at(drawn, k, "q95") for k in levels},
        ),
        "halves": _at_levels(
            levels,
            at(side, "stability", "split_half"),
            at(side, "stability", "split_half_null"),
        ),
    }


def _at_levels(
    levels: Iterable[str], *found: Mapping[str, Any] | None
) -> list[list[float]]:
    """Return k and its value in each of `found`, where all have one."""
    return [
        [int(k), *(_rounded(one[k], 6) for one in found if one)]
        for k in levels
        if all((one or {}).get(k) is not None for one in found)
    ]


def _maybe(value: Any) -> float | None:
    return None if value is None else _rounded(value)


def _rounded(value: float, digits: int = 4) -> float:
    # Four digits are more than a plot shows.
    return float(f"{value:.{digits}g}")


def _points(
    row: Row, levels: Iterable[str], *columns: str
) -> list[list[float]]:
    points = []
    for level in levels:
        values = [
            # These are shown as numbers: more than three decimals are needed.
            _rounded(value, 6)
            for column in columns
            if (value := row.get(column.format(level))) is not None
        ]
        if len(values) == len(columns):
            points.append([int(level), *values])
    return points


_GROWTH = {
    None: "not measured",
    True: "would add to the subspace",
    False: "would add little to the subspace",
}


def _facts(row: Row) -> list[list[str]]:
    k = row["shown_k"]
    p = row.get(f"null_strength_p_adjusted_{k}")
    facts = {
        "Shape": f"{row['out']} × {row['in']}, {row['kind']}",
        "Members": number(row["n_models"]),
        "Held-out R² of the mean": _between(row, "r2_mean", "r2_mean"),
        "Mean's share of energy": number(row["mean_fraction"]),
        f"Adjusted p, k = {k}": number(p),
        f"Split halves agree, k = {k}": _beside(
            row.get(f"split_half_{k}"), "null", row.get(f"split_half_null_{k}")
        ),
        "Davis-Kahan bound": _if_measured(row["davis_kahan"]),
        "More members": _GROWTH[row["still_growing"]],
    }
    both, basis = row[f"r2_basis_{k}"], row[f"r2_basis_only_{k}"]
    if basis is not None:
        facts[f"R² of basis, of mean and basis, k = {k}"] = (
            f"{number(basis)}, {number(both)}"
        )
    for side in ("output", "input"):
        facts[f"{side.capitalize()} overlap"] = _beside(
            row[f"{side}_overlap_mean"], "chance", row[f"{side}_overlap_null"]
        )
        facts[f"{side.capitalize()} verdict"] = (
            row[f"{side}_verdict"] or "null not drawn"
        )
        shared_by = row[f"{side}_first_direction_shared_by"]
        if shared_by is not None:
            facts[f"First {side} direction"] = (
                f"shared by {shared_by}"
                f" of {row[f'{side}_first_direction_of']} members"
            )
        word = row[f"{side}_base_word"]
        if word is not None:
            facts[f"{side.capitalize()} side in the base"] = word
    return [[label, text] for label, text in facts.items()]


def _if_measured(value: Any) -> str:
    return "not measured" if value is None else number(value)


def _beside(value: Any, name: str, reference: Any) -> str:
    if value is None:
        return _if_measured(value)
    return f"{number(value)} ({name} {number(reference)})"


def _between(row: Row, value: str, ends: str) -> str:
    """Return a value with its 95 % interval, where there is one."""
    low, high = row[f"{ends}_low"], row[f"{ends}_high"]
    if low is None or high is None:
        return number(row[value])
    interval = f"{number(low)} to {number(high)}"
    return f"{number(row[value])} ({_95} interval {interval})"
