"""One layer as a header and named arrays, and back from an HDF5 group."""

import json
from dataclasses import asdict, fields
from typing import Any

import h5py
import numpy as np

from spectra.subspaces.recipes.measured import RecipeSpectrum, Truncation
from spectra.subspaces.result import (
    BaseFit,
    BaseSide,
    Directions,
    Folds,
    LayerFit,
    MemberMetrics,
    SideFit,
    WeightStats,
)

__all__ = ["arrays_of", "header_of", "read_layer"]

_SCALARS = ("name", "architecture", "kind", "resolution", "reference_energy")
_ARRAYS = ("inner", "h", "rounding", "singular_values", "ranks")
_SPREAD = ("entry_sums", "row_sums", "row_products", "fold_of")
_WEIGHTS = tuple(field.name for field in fields(WeightStats))
_SIDE = ("projector_mean", "overlap")
_FOLDS = ("sums", "traces")
_BASE_SIDE = tuple(field.name for field in fields(BaseSide))
_BASE = tuple(field.name for field in fields(BaseFit))
_PAIRS = ("phi", "geodesic", "cosines", "consensus")
_METRICS = tuple(field.name for field in fields(MemberMetrics))
_DIRECTIONS = ("left", "right", "output", "input")


def _get(group: h5py.Group, name: str) -> Any:
    """Return an array, a number of Python's, or None where there is none."""
    if name not in group:
        return None
    value = group[name][()]
    return value.item() if isinstance(value, np.generic) else value


def arrays_of(layer: LayerFit, /) -> dict[str, Any]:
    """Return the arrays of a layer by where they stand in it."""
    arrays = _named("", layer, (*_ARRAYS, *_SPREAD, "initial"))
    for side in ("output", "input"):
        value = getattr(layer, side)
        names = (*_SIDE, *_PAIRS, "eigenvalues")
        arrays |= _named(f"{side}/", value, names)
        arrays |= _named(f"{side}/folds/", value.folds, _FOLDS)
        arrays |= _named(f"{side}/base/", value.base, _BASE_SIDE)
    arrays |= _named("base/", layer.base, _BASE)
    arrays |= _named("weights/", layer.weights, _WEIGHTS)
    arrays |= _named("metrics/", layer.metrics, _METRICS)
    return arrays | _named("directions/", layer.directions, _DIRECTIONS)


def _named(prefix: str, value: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """Return those fields of a value that are there, by their full names."""
    found = {f"{prefix}{name}": getattr(value, name, None) for name in names}
    return {name: kept for name, kept in found.items() if kept is not None}


def header_of(layer: LayerFit, /) -> dict[str, Any]:
    """Return what of a layer is no array."""
    return {
        **{name: getattr(layer, name) for name in _SCALARS},
        "shape": list(layer.shape),
        "members": list(layer.members),
        "duplicates": [list(pair) for pair in layer.duplicates],
        "digests": list(layer.digests),
        "base_digest": layer.base_digest,
        "base_fault": layer.base_fault,
        "traces": [layer.output.trace, layer.input.trace],
        "recipes": [
            asdict(found) | {"eigenvalues": found.eigenvalues.tolist()}
            for found in layer.recipes
        ],
    }


def _get_all(
    group: h5py.Group, name: str, kind: type, names: tuple[str, ...]
) -> Any:
    if name not in group:
        return None
    return kind(*(_get(group[name], field) for field in names))


def read_layer(group: h5py.Group, /) -> LayerFit:
    """Return the layer that a group holds: its header, and arrays by name."""
    header = json.loads(group["header"].asstr()[()])
    sides = [
        _read_side(group[side], trace)
        for side, trace in zip(
            ("output", "input"), header["traces"], strict=True
        )
    ]
    return LayerFit(
        **{name: header[name] for name in _SCALARS},
        **{name: group[name][()] for name in _ARRAYS},
        shape=(header["shape"][0], header["shape"][1]),
        members=tuple(header["members"]),
        duplicates=tuple((i, j) for i, j in header["duplicates"]),
        output=sides[0],
        input=sides[1],
        **{name: _get(group, name) for name in (*_SPREAD, "initial")},
        weights=_get_all(group, "weights", WeightStats, _WEIGHTS),
        directions=_get_all(group, "directions", Directions, _DIRECTIONS),
        digests=tuple(header["digests"]),
        base_digest=header["base_digest"],
        base=_get_all(group, "base", BaseFit, _BASE),
        base_fault=header["base_fault"],
        metrics=_get_all(group, "metrics", MemberMetrics, _METRICS),
        recipes=tuple(map(_recipe, header.get("recipes", ()))),
    )


def _recipe(found: dict[str, Any]) -> RecipeSpectrum:
    values = np.array(found.pop("eigenvalues"), np.float64)
    kept = found.pop("truncation", None)
    if kept is not None:
        kept = Truncation(**kept | {"ranks": tuple(kept["ranks"])})
    return RecipeSpectrum(eigenvalues=values, truncation=kept, **found)


def _read_side(group: h5py.Group, trace: float) -> SideFit:
    return SideFit(
        eigenvalues=_get(group, "eigenvalues"),
        trace=trace,
        **{name: group[name][()] for name in _SIDE},
        **{name: _get(group, name) for name in _PAIRS},
        folds=_get_all(group, "folds", Folds, _FOLDS),
        base=_get_all(group, "base", BaseSide, _BASE_SIDE),
    )
