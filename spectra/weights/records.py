"""Values of the catalogue as JSON records, and back without loss."""

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
from spectra.core.tensors import FileRef, TensorRef
from spectra.weights.coverage import coverage_counts

__all__ = [
    "architecture_from",
    "architecture_record",
    "checkpoint_from",
    "checkpoint_record",
    "key_record",
    "quarantined_from",
    "quarantined_record",
]

_PLAIN = (
    "id", "revision", "path", "architecture", "license", "base_claim",
    "duplicate_of",
)  # fmt: skip
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
    files = tuple(
        FileRef(**{name: file[name] for name in _FILE})
        for file in record["files"]
    )
    return Checkpoint(
        **{name: record[name] for name in _PLAIN},
        files=files,
        layers=tuple(
            (_key_from(layer), _source_from(layer, files))
            for layer in record["layers"]
        ),
        skipped=tuple(Skipped(*entry) for entry in record["skipped"]),
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
        record["id"],
        tuple(_key_from(layer) for layer in record["layers"]),
        tuple(record["members"]),
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
        record["id"], record["layer"], record["code"], record["detail"]
    )


def key_record(key: LayerKey, /) -> dict[str, Any]:
    """Return a layer's name, shape and kind."""
    return {"name": key.name, "shape": list(key.shape), "kind": key.kind}


def _key_from(record: Mapping[str, Any]) -> LayerKey:
    out, inner = record["shape"]
    return LayerKey(record["name"], (out, inner), record["kind"])


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
    if record["kind"] == "dense":
        weight = _tensor_from(record["weight"], files)
        return DenseSource(weight, transposed=record["transposed"])
    return LowRankSource(
        _tensor_from(record["A"], files),
        _tensor_from(record["B"], files),
        record["scale"],
    )


def _tensor_record(ref: TensorRef, places: Mapping[str, int]) -> list[Any]:
    return [
        places[ref.file], ref.name, ref.start, ref.stop, ref.dtype,
        list(ref.shape),
    ]  # fmt: skip


def _tensor_from(entry: Sequence[Any], files: Sequence[FileRef]) -> TensorRef:
    place, name, start, stop, dtype, shape = entry
    return TensorRef(files[place].path, name, start, stop, dtype, tuple(shape))
