"""What is known of one layer once it is fitted, as bytes of one form."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from safetensors import safe_open
from safetensors.numpy import load, save

from spectra.core.catalog import Quarantined
from spectra.store.layers import arrays_of, header_of, read_layer
from spectra.subspaces.result import LayerOutcome

__all__ = ["header_within", "pack", "read_unit", "unpack", "write_unit"]

_RECORDS = ("quarantine", "left_out")


def pack(outcome: LayerOutcome, /) -> bytes:
    """Return an outcome as a safetensors file: one outcome, one sequence.

    The tensor ``header`` is a JSON text; the others are the layer's arrays.
    """
    layer = outcome.fit
    header: dict[str, Any] = {
        name: [asdict(record) for record in getattr(outcome, name)]
        for name in _RECORDS
    }
    header["layer"] = None if layer is None else header_of(layer)
    text = json.dumps(header, sort_keys=True).encode("ascii")
    arrays = {} if layer is None else arrays_of(layer)
    whole = {name: np.asarray(a, order="C") for name, a in arrays.items()}
    return save({"header": np.frombuffer(text, np.uint8), **whole})


def unpack(data: bytes, /) -> LayerOutcome:
    """Return the outcome that `pack` made these bytes of."""
    with h5py.File("unit", "w", driver="core", backing_store=False) as file:
        write_unit(file, data)
        return read_unit(file)


def header_within(path: Path, /) -> dict[str, Any]:
    """Return the header alone of a whole file that holds what `pack` made."""
    with safe_open(path, "np") as file:
        return dict(json.loads(file.get_tensor("header").tobytes()))


def write_unit(group: h5py.Group, data: bytes, /) -> None:
    """Write what `pack` made of a layer into an empty group.

    Names are values, never paths.
    """
    arrays = load(data)
    header = json.loads(arrays.pop("header").tobytes())
    # Not attributes: those end at 64 KiB, and a population need not.
    group["header"] = json.dumps(header.pop("layer"), sort_keys=True)
    group["records"] = json.dumps(header, sort_keys=True)
    # `load` gives them in another order each time.
    for name, values in sorted(arrays.items()):
        group[name] = values


def read_unit(group: h5py.Group, /) -> LayerOutcome:
    """Return the outcome that a group holds."""
    records = json.loads(group["records"].asstr()[()])
    found = {
        name: tuple(Quarantined(**record) for record in records[name])
        for name in _RECORDS
    }
    is_there = json.loads(group["header"].asstr()[()]) is not None
    return LayerOutcome(read_layer(group) if is_there else None, **found)
