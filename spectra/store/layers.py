"""One layer as an HDF5 group, and back."""

import json
from typing import Any

import h5py
import numpy as np

from spectra.subspaces.result import Directions, LayerFit, SideFit

__all__ = ["read_layer", "write_layer"]

_SCALARS = ("name", "architecture", "kind", "resolution", "reference_energy")
_ARRAYS = ("inner", "h", "rounding", "singular_values", "ranks")
_SIDE = ("projector_mean", "overlap")
_DIRECTIONS = ("left", "right", "output", "input")


def _put(group: h5py.Group, name: str, values: Any) -> None:
    if values is None:
        return
    values = np.asarray(values)
    options: dict[str, Any] = {"fletcher32": True}
    if values.ndim >= 2:
        options |= {"compression": "gzip", "shuffle": True}
    if values.size == 0:
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
        "traces": [layer.output.trace, layer.input.trace],
    }
    # Not an attribute: those end at 64 KiB, and a population need not.
    group.create_dataset("header", data=json.dumps(header))
    for name in _ARRAYS:
        _put(group, name, getattr(layer, name))
    _put(group, "initial", layer.initial)
    for side in ("output", "input"):
        part, value = group.create_group(side), getattr(layer, side)
        for name in (*_SIDE, "eigenvalues"):
            _put(part, name, getattr(value, name))
    if layer.directions is not None:
        part = group.create_group("directions")
        for name in _DIRECTIONS:
            _put(part, name, getattr(layer.directions, name))


def read_layer(group: h5py.Group, /) -> LayerFit:
    """Return the layer that `write_layer` wrote."""
    header = json.loads(group["header"].asstr()[()])
    sides = [
        SideFit(
            eigenvalues=_get(group[side], "eigenvalues"),
            trace=trace,
            **{name: group[side][name][()] for name in _SIDE},
        )
        for side, trace in zip(
            ("output", "input"), header["traces"], strict=True
        )
    ]
    directions = None
    if "directions" in group:
        part = group["directions"]
        directions = Directions(*(_get(part, name) for name in _DIRECTIONS))
    return LayerFit(
        **{name: header[name] for name in _SCALARS},
        **{name: group[name][()] for name in _ARRAYS},
        shape=(header["shape"][0], header["shape"][1]),
        members=tuple(header["members"]),
        duplicates=tuple((i, j) for i, j in header["duplicates"]),
        output=sides[0],
        input=sides[1],
        initial=_get(group, "initial"),
        directions=directions,
        digests=tuple(header["digests"]),
        base_digest=header["base_digest"],
    )
