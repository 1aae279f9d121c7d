"""Values of the catalogue as JSON records, and back without loss.

On the way back a record of another form raises a LookupError, TypeError or
ValueError: what is read from a file is of the types that it is said to be of.
"""

import math
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from spectra.core.catalog import (
    Architecture,
    Checkpoint,
    DenseSource,
    LayerKey,
    LayerSource,
    LowRankSource,
    Quarantined,
    Skipped,
)
from spectra.core.tensors import DTYPE_BITS, FileRef, TensorRef
from spectra.weights.coverage import coverage_counts

__all__ = [
    "architecture_from",
    "architecture_record",
    "checkpoint_from",
    "checkpoint_record",
    "key_record",
    "quarantined_from",
    "quarantined_record",
    "text_from",
]

_TEXTS = ("id", "architecture")
_CLAIMS = ("revision", "license", "base_claim", "duplicate_of")
_PLAIN = (*_TEXTS, "path", *_CLAIMS)
_SHA256 = re.compile("[0-9a-f]{64}")
_FILE = ("path", "nbytes", "mtime_ns", "header_sha256", "etag")


def checkpoint_record(model: Checkpoint, /) -> dict[str, Any]:
    """Return one line of catalog.jsonl."""
    places = {file.path: n for n, file in enumerate(model.files)}
    return {
        "record": "model",
        **{name: getattr(model, name) for name in _PLAIN},
        "bytes": model.nbytes,
        "n_layers": len(model.layers),
        "files": [
            {name: getattr(file, name) for name in _FILE}
            for file in model.files
        ],
        "layers": [
            {**key_record(key), **_source_record(source, places)}
            for key, source in model.layers
        ],
        "skipped": [[entry.tensor, entry.reason] for entry in model.skipped],
        "coverage": coverage_counts(model),
    }


def checkpoint_from(record: Mapping[str, Any], /) -> Checkpoint:
    """Return the checkpoint that a record was made of."""
    files = tuple(_file_from(file) for file in record["files"])
    plain: dict[str, Any] = {
        **{name: text_from(record[name]) for name in _TEXTS},
        **{name: _claim(record[name]) for name in _CLAIMS},
    }
    return Checkpoint(
        **plain,
        path=_path(record["path"]),
        files=files,
        layers=tuple(
            (_key_from(layer), _source_from(layer, files))
            for layer in record["layers"]
        ),
        skipped=tuple(
            Skipped(text_from(tensor), text_from(reason))
            for tensor, reason in record["skipped"]
        ),
    )


def architecture_record(architecture: Architecture, /) -> dict[str, Any]:
    """Return an architecture with its layers and members."""
    return {
        "id": architecture.id,
        "n_models": len(architecture.members),
        "n_layers": len(architecture.layers),
        "members": list(architecture.members),
        "layers": [key_record(key) for key in architecture.layers],
    }


def architecture_from(record: Mapping[str, Any], /) -> Architecture:
    """Return the architecture that a record was made of."""
    return Architecture(
        text_from(record["id"]),
        tuple(_key_from(layer) for layer in record["layers"]),
        tuple(text_from(member) for member in record["members"]),
    )


def quarantined_record(entry: Quarantined, /) -> dict[str, Any]:
    """Return what was set aside, as the schemas of all reports have it."""
    return {
        "id": entry.id,
        "layer": entry.layer,
        "code": entry.code,
        "detail": entry.detail,
    }


def quarantined_from(record: Mapping[str, Any], /) -> Quarantined:
    """Return the entry that a record was made of."""
    return Quarantined(
        text_from(record["id"]),
        _claim(record["layer"]),
        text_from(record["code"]),
        text_from(record["detail"]),
    )


def key_record(key: LayerKey, /) -> dict[str, Any]:
    """Return a layer's name, shape and kind."""
    return {"name": key.name, "shape": list(key.shape), "kind": key.kind}


def _key_from(record: Mapping[str, Any]) -> LayerKey:
    out, inner = map(_count, record["shape"])
    kind = record["kind"]
    if kind not in ("dense", "low-rank"):
        raise ValueError(f"no kind of layer: {kind!r}")
    return LayerKey(text_from(record["name"]), (out, inner), kind)


def _file_from(record: Mapping[str, Any]) -> FileRef:
    return FileRef(
        _path(record["path"]),
        _count(record["nbytes"]),
        _integer(record["mtime_ns"]),
        _digest(record["header_sha256"]),
        _claim(record["etag"]),
    )


def _source_record(
    source: LayerSource, places: Mapping[str, int]
) -> dict[str, Any]:
    if isinstance(source, DenseSource):
        return {
            "weight": _tensor_record(source.weight, places),
            "transposed": source.transposed,
        }
    return {
        "A": _tensor_record(source.A, places),
        "B": _tensor_record(source.B, places),
        "scale": source.scale,
    }


def _source_from(
    record: Mapping[str, Any], files: Sequence[FileRef]
) -> LayerSource:
    out, inner = record["shape"]
    if record["kind"] == "dense":
        weight = _tensor_from(record["weight"], files)
        if weight.size != out * inner:
            raise ValueError(f"a layer of {out} x {inner} is {weight.shape}")
        return DenseSource(weight, transposed=_flag(record["transposed"]))
    A = _tensor_from(record["A"], files)
    B = _tensor_from(record["B"], files)
    rank = A.shape[0]
    if A.shape != (rank, inner) or B.shape != (out, rank):
        raise ValueError(f"a layer of {out} x {inner} is {B.shape} {A.shape}")
    return LowRankSource(A, B, _scale(record["scale"]))


def _tensor_record(ref: TensorRef, places: Mapping[str, int]) -> list[Any]:
    return [
        places[ref.file], ref.name, ref.start, ref.stop, ref.dtype,
        list(ref.shape),
    ]  # fmt: skip


def _tensor_from(entry: Sequence[Any], files: Sequence[FileRef]) -> TensorRef:
    place, name, start, stop, dtype, shape = entry
    file = files[_count(place)]
    ref = TensorRef(
        file.path,
        text_from(name),
        _count(start),
        _count(stop),
        text_from(dtype),
        tuple(map(_count, shape)),
    )
    if ref.size * DTYPE_BITS[dtype] != 8 * ref.nbytes or stop > file.nbytes:
        raise ValueError(f"bytes {start} to {stop} are no {dtype} {shape}")
    return ref


def text_from(value: Any, /) -> str:
    """Return a value that must be a text, or raise TypeError."""
    if type(value) is not str:
        raise TypeError(f"no text: {value!r}")
    return value


def _path(value: Any) -> str:
    """Return a text that the system takes for a path."""
    if b"\0" in os.fsencode(text_from(value)):
        raise ValueError(f"no path: {value!r}")
    return str(value)


def _digest(value: Any) -> str:
    if not _SHA256.fullmatch(text_from(value)):
        raise ValueError(f"no SHA-256: {value!r}")
    return str(value)


def _claim(value: Any) -> str | None:
    return None if value is None else text_from(value)


def _integer(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"no integer: {value!r}")
    return value


def _count(value: Any) -> int:
    if _integer(value) < 0:
        raise ValueError(f"less than nothing: {value!r}")
    return int(value)


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise TypeError(f"neither true nor false: {value!r}")
    return value


def _scale(value: Any) -> float:
    if type(value) is not float or not 0 < value < math.inf:
        raise ValueError(f"no scale: {value!r}")
    return value
