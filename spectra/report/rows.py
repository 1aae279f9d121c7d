"""The report document as flat rows: one a layer, one a checkpoint."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from spectra.report.document import Report, at, levels_of
from spectra.report.wording import number

__all__ = [
    "Row",
    "coverage_rows",
    "kind_rows",
    "layer_rows",
    "metric_rows",
    "model_rows",
    "recipe_rows",
]

Row = dict[str, Any]

_MODEL_COLUMNS = (
    "id", "revision", "license", "group", "init_group", "duplicate_of", "norm",
)  # fmt: skip
_ALONE = (
    "norm", "stable_rank", "effective_rank", "num_spikes",
    "gavish_donoho_rank",
)  # fmt: skip
_BY_LEVEL = ("evr", "expected_isotropic", "expected_norms", "unit_norm_evr")
_NULL_COLUMNS = ("mean", "q95", "p", "p_adjusted")


def model_rows(report: Report, /) -> list[Row]:
    """Return one row a checkpoint, in the order of the report."""
    return [
        {column: model.get(column) for column in _MODEL_COLUMNS}
        for model in report["population"]["models"]
    ]


def layer_rows(report: Report, /) -> list[Row]:
    """Return one row a layer; what depends on k has a column a level.

    ``shown_k`` is the level a table with one level shows: that of the
    effect, else the largest with as many directions outside as inside.
    """
    levels = levels_of(report)
    return [_layer_row(layer, levels) for layer in report["layers"]]


def metric_rows(report: Report, /) -> list[Row]:
    """Return one row a layer of means over checkpoints taken one by one."""
    return [
        {
            "name": layer["name"],
            **{name: layer["metrics"][name]["mean"] for name in _ALONE},
            **{
                name: (layer["alpha_score"] or {}).get(name)
                for name in ("mean", "std", "in_range", "q", "retained")
            },
        }
        for layer in report["layers"]
        if layer.get("metrics")
    ]


def coverage_rows(report: Report, /) -> list[Row]:
    """Return one row an outcome and code: how many ended so.

    ``n_whole`` counts checkpoints of which nothing was used, ``n_layers``
    single layers of checkpoints.
    """
    population = report["population"]
    rows = [
        {
            "outcome": "analysed",
            "code": "",
            "n_models": population["n_models"],
            "n_whole": None,
            "n_layers": sum(layer["n_models"] for layer in report["layers"]),
        }
    ]
    entries = {
        "set aside": report["quarantine"],
        "sound, not analysed": report.get("left_out") or (),
    }
    for outcome, found in entries.items():
        for code in sorted({entry["code"] for entry in found}):
            of_code = [entry for entry in found if entry["code"] == code]
            n_whole = sum(entry["layer"] is None for entry in of_code)
            rows.append(
                {
                    "outcome": outcome,
                    "code": code,
                    "n_models": len({entry["id"] for entry in of_code}),
                    "n_whole": n_whole,
                    "n_layers": len(of_code) - n_whole,
                }
            )
    return rows


def kind_rows(report: Report, /) -> list[Row]:
    """Return one row a kind of tensor: how many ended in which way, and why.

    Empty where the report was made without the run's catalogue.
    """
    rows: dict[str, Row] = {}
    for entry in report.get("coverage") or ():
        row = rows.setdefault(
            entry["kind"],
            {
                "kind": entry["kind"], "example": entry["example"],
                "analysed": 0, "skipped": 0, "refused": 0, "why": [],
            },
        )  # fmt: skip
        row[entry["status"]] += entry["n_tensors"]
        if entry["reason"]:
            row["why"].append(f"{entry['reason']} {entry['n_tensors']:,}")
    return list(rows.values())


def recipe_rows(report: Report, /) -> list[Row]:
    """Return one row a recipe, part and mode: means over its layers.

    ``k`` is the largest level of which twice as many directions exist in each
    of them; the smallest where there is none.
    """
    found: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for layer in report["layers"]:
        for entry in layer.get("recipes", ()):
            key = tuple(map(entry.get, ("recipe", "options", "part", "mode")))
            found.setdefault(key, []).append(entry)
    return [_recipe_row(entries) for entries in found.values()]


def _recipe_row(entries: Sequence[Mapping[str, Any]]) -> Row:
    part, mode, options = map(entries[0].get, ("part", "mode", "options"))
    recipe = entries[0]["recipe"] + (f":{options}" if options else "")
    levels = sorted(entries[0]["evr"], key=int)
    open_ones = [
        k for k in levels if not any(e["saturated"][k] for e in entries)
    ]
    k = (open_ones or levels[:1])[-1]
    which = part or (None if mode is None else f"mode {mode}")
    return {
        "name": recipe,
        "recipe": recipe if which is None else f"{recipe}, {which}",
        "n_layers": len(entries),
        "features": _range(e["feature_dim"] for e in entries),
        "samples": _range(e["n_samples"] for e in entries),
        "k": k,
        "evr": _mean(e["evr"][k] for e in entries),
        "null": _mean(e["null"][k] for e in entries),
        "saturated": not open_ones,
        "caveat": _kept(entries) + entries[0]["caveat"],
    }


def _kept(entries: Sequence[Mapping[str, Any]]) -> str:
    """Return what decompositions keep, a sentence; empty for none."""
    if "ranks" not in entries[0]:
        return ""
    ranks = zip(*(entry["ranks"] for entry in entries), strict=True)
    error, bound, refined = (
        _mean(entry[name] for entry in entries)
        for name in ("error", "error_bound", "error_refined")
    )
    words = (
        f"Kept {' x '.join(map(_range, ranks))} (models, outputs, inputs) with"
        f" a relative error of {number(error)}, at most {number(bound)}"
    )
    if refined is not None:
        words += f"; {number(refined)} after refinement"
    return f"{words}. "


def _range(values: Iterable[int]) -> str:
    known = sorted(set(values))
    return "-".join(map(str, dict.fromkeys((known[0], known[-1]))))


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _layer_row(layer: Mapping[str, Any], levels: Sequence[str]) -> Row:
    axis = layer["model_axis"]
    row: Row = {
        "name": layer["name"],
        "architecture": layer.get("architecture"),
        "kind": layer["kind"],
        "out": layer["shape"][0],
        "in": layer["shape"][1],
        "n_models": layer["n_models"],
        "verdict": layer["verdict"],
        "energy": axis.get("energy"),
        "floor": axis.get("floor"),
        "mean_fraction": axis.get("mean_fraction"),
        "participation_ratio": axis.get("participation_ratio"),
        "shown_k": _shown_level(layer, levels),
    }
    for level in levels:
        row |= _model_axis_at(axis, level)
    row |= _held_out(axis, levels) | _stability(layer, levels)
    for side in ("output", "input"):
        row |= _side(layer, side, levels)
    row["reasons"] = "; ".join(layer["reasons"])
    return row


def _shown_level(layer: Mapping[str, Any], levels: Sequence[str]) -> str:
    chosen = at(layer, "model_axis", "held_out", "effect", "k")
    if chosen is not None:
        return str(chosen)
    half = (layer["n_models"] - 1) // 2
    return max((k for k in levels if int(k) <= half), key=int, default="1")


def _model_axis_at(axis: Mapping[str, Any], level: str) -> Row:
    row = {f"{key}_{level}": at(axis, key, level) for key in _BY_LEVEL}
    for name in sorted(axis.get("null") or ()):
        for column in _NULL_COLUMNS:
            row[f"null_{name}_{column}_{level}"] = at(
                axis, "null", name, "evr", level, column
            )
    return row


def _held_out(axis: Mapping[str, Any], levels: Sequence[str]) -> Row:
    held_out = at(axis, "held_out")
    row = {"r2_mean": at(held_out, "r2", "mean")}
    for end in ("low", "high"):
        row[f"r2_mean_{end}"] = at(held_out, "r2", f"mean_{end}")
    for level in levels:
        for key in ("captured", "captured_random"):
            row[f"{key}_{level}"] = at(held_out, key, level)
        for key in ("basis", "basis_only"):
            row[f"r2_{key}_{level}"] = at(held_out, "r2", key, level)
    for key in ("k", "value", "low", "high"):
        row[f"effect_{key}"] = at(held_out, "effect", key)
    return row


def _stability(layer: Mapping[str, Any], levels: Sequence[str]) -> Row:
    row: Row = {}
    for level in levels:
        for key in ("split_half", "split_half_null"):
            row[f"{key}_{level}"] = at(layer, "stability", key, level)
    row["davis_kahan"] = at(layer, "stability", "davis_kahan")
    row["still_growing"] = at(
        layer, "stability", "saturation", "still_growing"
    )
    return row


def _side(layer: Mapping[str, Any], name: str, levels: Sequence[str]) -> Row:
    side = layer.get(f"{name}_side")
    row: Row = {f"{name}_verdict": at(side, "verdict")}
    for level in levels:
        row[f"{name}_evr_{level}"] = at(side, "evr", level)
    for key in ("overlap_mean", "overlap_null"):
        row[f"{name}_{key}"] = at(side, key)
    first = next(iter(at(side, "consensus") or ()), None)
    for key in ("shared_by", "of"):
        row[f"{name}_first_direction_{key}"] = at(first, key)
    beside = at(layer, "base_alignment", f"{name}_side")
    row[f"{name}_base_word"] = at(beside, "word")
    return row
