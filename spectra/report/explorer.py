"""What the page's script is given: a layer's curves, maps and sentences."""

import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from spectra.core.text import printable
from spectra.report.document import Report, levels_of
from spectra.report.pairs import MEASURES, Measure, clustered, pack
from spectra.report.rows import Row, layer_rows
from spectra.report.wording import number
from spectra.subspaces.result import LayerFit, PopulationFit

__all__ = ["MAP_BUDGET", "explorer"]

MAP_BUDGET = 8 * 2**20
"""Characters of maps in one page: about what a browser opens at once."""

_95 = "95\u00a0%"


def explorer(report: Report, fit: PopulationFit, /) -> dict[str, Any]:
    """Return the JSON-able document that the page's script draws from.

    Layers with the largest effect get their maps first, until `MAP_BUDGET`
    is spent; ``pairs.csv`` has every pair.
    """
    rows = layer_rows(report)
    maps = _maps_within_budget(rows, fit)
    groups = {
        model["id"]: model.get("group")
        for model in report["population"]["models"]
    }
    return {
        "models": [
            {"name": _shown(model.id), "group": _shown(groups.get(model.id))}
            for model in fit.models
        ],
        "layers": [
            _layer(layer, row, levels_of(report)) | {"map": maps.get(index)}
            for index, (layer, row) in enumerate(
                zip(report["layers"], rows, strict=True)
            )
        ],
    }


def _shown(value: Any) -> str | None:
    return None if value is None else printable(str(value))


def _maps_within_budget(
    rows: Sequence[Row], fit: PopulationFit
) -> dict[int, dict[str, Any]]:
    wanted = {
        (rows[index]["architecture"], rows[index]["name"],
         rows[index]["out"], rows[index]["in"]): index
        for index in _affordable(rows)
    }  # fmt: skip
    maps = {}
    # One layer at a time: a fit may read its layers as they are asked for.
    for layer in fit.layers:
        key = (layer.architecture, layer.name, *layer.shape)
        if key in wanted:
            maps[wanted[key]] = _maps(layer)
    return maps


def _affordable(rows: Sequence[Row]) -> Iterator[int]:
    def effect(index: int) -> float:
        low = rows[index]["effect_low"]
        return -math.inf if low is None else float(low)

    left = MAP_BUDGET
    for index in sorted(range(len(rows)), key=effect, reverse=True):
        n = rows[index]["n_models"]
        # Two bytes a pair, four characters for three bytes.
        left -= len(MEASURES) * (n * (n - 1) * 4 // 3 + 4 * n)
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
        "order": clustered(matrix),
    }


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
        "share": [
            None if value is None or energy is None
            else _rounded(value / energy)
            for value in layer["model_axis"].get("eigenvalues") or ()
        ],
        "floor": None if energy is None or row["floor"] is None
        else _rounded(row["floor"] / energy),
        "norms": _points(row, levels, "expected_norms_{}"),
        "null": _points(
            row, levels, "null_strength_mean_{}", "null_strength_q95_{}"
        ),
        "held_out": _points(row, levels, "captured_{}", "captured_random_{}"),
        "captions": [_on_spectrum(row), _on_top(row), _on_held_out(row)],
        "facts": _facts(row),
        "reasons": [
            printable(reason, limit=sys.maxsize)
            for reason in layer["reasons"]
        ],
    }  # fmt: skip


def _rounded(value: float) -> float:
    # Six digits are more than a plot shows.
    return float(f"{value:.6g}")


def _points(
    row: Row, levels: Iterable[str], *columns: str
) -> list[list[float]]:
    points = []
    for level in levels:
        values = [
            _rounded(value)
            for column in columns
            if (value := row.get(column.format(level))) is not None
        ]
        if len(values) == len(columns):
            points.append([int(level), *values])
    return points


def _on_spectrum(row: Row) -> str:
    if row["participation_ratio"] is None:
        return "No spectrum: the members do not differ above the floor."
    return (
        f"As even as {row['participation_ratio']:.1f} equal directions;"
        f" unrelated members would give at most {row['n_models'] - 1}."
    )


def _on_top(row: Row) -> str:
    k = row["shown_k"]
    if row.get(f"evr_{k}") is None:
        return f"Fewer than {k} directions are above the floor."
    top = "The first direction holds" if k == "1" else f"The top {k} hold"
    q95 = row.get(f"null_strength_q95_{k}")
    return (
        f"{top} {number(row[f'evr_{k}'])} of the deviations; orthogonal"
        " updates of the same norms would hold"
        f" {number(row[f'expected_norms_{k}'])}, and {_95} of null draws stay"
        f" below {number(q95)}."
    )


def _on_held_out(row: Row) -> str:
    k = row["shown_k"]
    if row.get(f"captured_{k}") is None:
        return "Not tested: too few independent groups to hold one out."
    captured, random = row[f"captured_{k}"], row[f"captured_random_{k}"]
    several = "s" if k != "1" else ""
    text = (
        f"Of a held-out group's deviations, {k} direction{several} found"
        f" without it captured {number(captured)}, random"
        f" ones {number(random)}."
    )
    if row["effect_low"] is None:
        return text
    return f"{text} The excess is {_between(row, 'effect_value', 'effect')}."


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
