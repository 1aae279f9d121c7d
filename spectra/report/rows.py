"""The report document as flat rows: one a layer, one a checkpoint."""

from collections.abc import Mapping, Sequence
from typing import Any

from spectra.report.document import Report, at, levels_of

__all__ = ["Row", "layer_rows", "model_rows"]

Row = dict[str, Any]

_MODEL_COLUMNS = (
    "id", "revision", "license", "group", "init_group", "duplicate_of", "norm",
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
