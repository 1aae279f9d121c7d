"""One layer as an HDF5 group, and back."""

import json
from dataclasses import fields
from typing import Any

import h5py
import numpy as np

from spectra.subspaces.result import (
    BaseFit,
    BaseSide,
    Directions,
    Folds,
    LayerFit,
    SideFit,
    WeightStats,
)

__all__ = ["read_layer", "write_layer"]

_SCALARS = ("name", "architecture", "kind", "resolution", "reference_energy")
_ARRAYS = ("inner", "h", "rounding", "singular_values", "ranks")
_SPREAD = ("entry_sums", "row_sums", "row_products", "fold_of")
_WEIGHTS = tuple(field.name for field in fields(WeightStats))
_SIDE = ("projector_mean", "overlap")
_FOLDS = ("sums", "traces")
_BASE_SIDE = tuple(field.name for field in fields(BaseSide))
_BASE = tuple(field.name for field in fields(BaseFit))
_PAIRS = ("phi", "geodesic", "cosines", "consensus")
_DIRECTIONS = ("left", "right", "output", "input")


def _put(group: h5py.Group, name: str, values: Any) -> None:
    if values is None:
        return
    values = np.asarray(values)
    options: dict[str, Any] = {"fletcher32": True}
    if values.ndim >= 2:
        options |= {"compression": "gzip", "shuffle": True}
    if values.size == 0 or values.ndim == 0:
        options = {}
    group.create_dataset(name, data=values, **options)


def _get(group: h5py.Group, name: str) -> Any:
    return group[name][()] if name in group else None


def write_layer(group: h5py.Group, layer: LayerFit, /) -> None:
    """Write a layer into an empty group; names are values, never paths."""
    header = {name: getattr(layer, name) for name in _SCALARS}
    header |= {
        "shape": list(layer.shape),
        "members": list(layer.members),
        "duplicates": [list(pair) for pair in layer.duplicates],
        "digests": list(layer.digests),
        "base_digest": layer.base_digest,
        "base_fault": layer.base_fault,
        "traces": [layer.output.trace, layer.input.trace],
    }
    # Not an attribute: those end at 64 KiB, and a population need not.
    group.create_dataset("header", data=json.dumps(header))
    for name in (*_ARRAYS, *_SPREAD, "initial"):
        _put(group, name, getattr(layer, name))
    for side in ("output", "input"):
        part, value = group.create_group(side), getattr(layer, side)
        for name in (*_SIDE, *_PAIRS, "eigenvalues"):
            _put(part, name, getattr(value, name))
        _put_all(part, "folds", value.folds, _FOLDS)
        _put_all(part, "base", value.base, _BASE_SIDE)
    _put_all(group, "base", layer.base, _BASE)
    _put_all(group, "weights", layer.weights, _WEIGHTS)
    _put_all(group, "directions", layer.directions, _DIRECTIONS)


def _put_all(
    group: h5py.Group, name: str, value: Any, names: tuple[str, ...]
) -> None:
    if value is not None:
        part = group.create_group(name)
        for field in names:
            _put(part, field, getattr(value, field))


def _get_all(
    group: h5py.Group, name: str, kind: type, names: tuple[str, ...]
) -> Any:
    if name not in group:
        return None
    return kind(*(_get(group[name], field) for field in names))


def read_layer(group: h5py.Group, /) -> LayerFit:
    """Return the layer that `write_layer` wrote."""
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
        base_fault=header.get("base_fault"),
    )


def _read_side(group: h5py.Group, trace: float) -> SideFit:
    return SideFit(
        eigenvalues=_get(group, "eigenvalues"),
        trace=trace,
        **{name: group[name][()] for name in _SIDE},
        **{name: _get(group, name) for name in _PAIRS},
        folds=_get_all(group, "folds", Folds, _FOLDS),
        base=_get_all(group, "base", BaseSide, _BASE_SIDE),
    )
