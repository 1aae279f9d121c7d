"""Writing the shared subspace of a run to a safetensors file, in pieces."""

import json
import math
import struct
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from spectra.core.errors import IntegrityError, Quarantine, UsageError
from spectra.core.settings import FitSettings
from spectra.core.text import printable
from spectra.store.atomic import replacing
from spectra.store.outputs import check_output
from spectra.study.fit import how_of
from spectra.study.scan import opening, scan_sources
from spectra.study.tasks import work_of
from spectra.subspaces.joint import joint_subspace
from spectra.subspaces.layer import LayerTask, digests, fit_layer
from spectra.subspaces.materialise import combined
from spectra.subspaces.result import Directions, LayerFit, PopulationFit
from spectra.subspaces.stacks import JOINT
from spectra.weights.bytes import FileSource, Opener
from spectra.weights.header import read_header
from spectra.weights.limits import Limits
from spectra.weights.stream import TensorReader

__all__ = ["Axis", "BasisFile", "write_basis"]

Axis = Literal["model", "output", "input"]

_SCHEMA = "spectra-basis/1"


@dataclass(frozen=True, slots=True)
class BasisFile:
    """What `write_basis` wrote. `nbytes` is the length of the file."""

    path: Path
    axis: Axis
    layers: tuple[str, ...]
    nbytes: int


_Pieces = Iterable[tuple[int, NDArray[np.float32]]]


@dataclass(frozen=True, slots=True)
class _Region:
    """Neighbouring tensors of the file, and the pieces that fill them.

    Attributes
    ----------
    tensors
        Names and shapes, in file order.
    stride
        Entries of one row; a piece (rows, n) from `start` fills n of each.
    """

    tensors: tuple[tuple[str, tuple[int, ...]], ...]
    stride: int
    pieces: _Pieces


@dataclass(frozen=True, slots=True)
class _Asked:
    """What of a run is written, and what opens its members' files."""

    fit: PopulationFit
    k: int
    axis: Axis
    opener: Opener


def write_basis(
    fit: PopulationFit,
    path: Path,
    /,
    *,
    k: int,
    axis: Axis,
    layers: tuple[str, ...] = (),
) -> BasisFile:
    """Write mean and orthonormal basis of each layer, streamed.

    Checkpoints are read once to see that they are what was fitted, and once
    to be combined.

    Parameters
    ----------
    fit
        A fitted population whose checkpoints are still where they were.
    path
        The safetensors file to write. ``NAME.mean`` is (out, in) and
        ``NAME.basis`` (k, out, in) for the model axis; for the sides there is
        only ``NAME.basis``, (d, k).
    k
        Directions a layer.
    axis
        Which subspace.
    layers
        Globs of layer names; all where empty.

    Raises
    ------
    IntegrityError
        When a checkpoint is not what it was when it was fitted.
    UsageError
        When no layer matches.
    """
    if k > JOINT and axis != "model":
        raise UsageError(
            "E_LEVEL", f"a side has {JOINT} directions at most, not {k}"
        )
    tasks = _tasks(fit, layers)
    names = _tensor_names([layer for layer, _ in tasks])
    read = {file for _, task in tasks for file in task.files}
    check_output(path, is_ours=_is_basis, inputs=read)
    members = {names[_identity(layer)]: layer.members for layer, _ in tasks}
    with opening(read) as opener:
        asked = _Asked(fit, k, axis, opener)
        regions = [
            _region(names[_identity(layer)], layer, task, asked)
            for layer, task in tasks
        ]
        header, start = _header(regions, _metadata(members, asked))
        with replacing(path) as temporary, temporary.open("wb") as file:
            file.write(header)
            for region in regions:
                start = _write(file, region, start)
    return BasisFile(path, axis, tuple(members), path.stat().st_size)


def _is_basis(path: Path) -> bool:
    try:
        with FileSource(path) as source:
            header = read_header(source, file=str(path), limits=Limits())
    except Quarantine:
        return False
    return header.metadata.get("schema") == _SCHEMA


def _tasks(
    fit: PopulationFit, globs: tuple[str, ...]
) -> list[tuple[LayerFit, LayerTask]]:
    """Return the wanted layers beside what their members keep of them."""
    catalog = scan_sources([member.path for member in fit.models])
    settings = FitSettings(base=fit.settings["base"], layers=globs)
    work = work_of(catalog, settings)
    known = {member.path: i for i, member in enumerate(fit.models)}
    for member in work.members:
        i = known.get(member.path)
        if i is None or member.fingerprint != fit.models[i].fingerprint:
            raise IntegrityError(
                member.path, "is not the checkpoint that was fitted"
            )
    order = [known[member.path] for member in work.members]
    found = {(t.key.name, t.key.shape, _kind(t)): t for t in work.tasks}
    pairs = []
    for layer in fit.layers:
        task = found.get((layer.name, layer.shape, layer.kind))
        if task is not None:
            pairs.append((layer, _restricted(task, layer, order)))
    return pairs


def _kind(task: LayerTask) -> str:
    return "difference" if task.base is not None else task.key.kind


def _restricted(
    task: LayerTask, layer: LayerFit, order: list[int]
) -> LayerTask:
    """Return the task with the layer's own members, numbered as in the run."""
    held = {order[i]: (order[i], name, s) for i, name, s in task.holders}
    missing = [i for i in layer.members if i not in held]
    if missing:
        raise IntegrityError(
            layer.name, f"is gone from {len(missing)} members"
        )
    return replace(task, holders=tuple(held[i] for i in layer.members))


def _region(
    name: str, layer: LayerFit, task: LayerTask, asked: _Asked
) -> _Region:
    if asked.axis == "model":
        return _model_axis(name, layer, task, asked)
    directions = layer.directions or _fitted_again(layer, task, asked)
    joint = directions.output if asked.axis == "output" else directions.input
    return _side_axis(name, joint, asked.k)


def _model_axis(
    name: str, layer: LayerFit, task: LayerTask, asked: _Asked
) -> _Region:
    _require_same(layer, *digests(task, asked.opener))
    subspace = joint_subspace(layer, asked.k)
    found = subspace.coefficients.shape[1]
    sources = [source for _, _, source in task.holders]
    return _Region(
        (
            (f"{name}.mean", layer.shape),
            (f"{name}.basis", (found, *layer.shape)),
        ),
        layer.shape[0] * layer.shape[1],
        combined(
            subspace,
            sources,
            task.base,
            TensorReader(task.files, asked.opener),
        ),
    )


def _side_axis(name: str, joint: Any, k: int) -> _Region:
    basis = np.ascontiguousarray(joint[:, :k])
    return _Region(
        ((f"{name}.basis", basis.shape),),
        basis.size,
        ((0, basis.reshape(1, -1)),),
    )


def _require_same(
    layer: LayerFit, found: tuple[str, ...], base: str | None
) -> None:
    """Refuse other bytes than those that were fitted: their sums are wrong."""
    if (found, base) != (layer.digests, layer.base_digest):
        raise IntegrityError(
            printable(layer.name), "is not made of the bytes that were fitted"
        )


def _fitted_again(
    layer: LayerFit, task: LayerTask, asked: _Asked
) -> Directions:
    settings = FitSettings(
        rank=asked.fit.settings["rank"],
        precision=asked.fit.settings["precision"],
        save_directions=True,
    )
    how = how_of(settings, workers=1, opener=asked.opener)
    outcome = fit_layer(task, how)
    if outcome.fit is None or outcome.fit.directions is None:
        raise IntegrityError(task.key.name, "cannot be read again")
    _require_same(layer, outcome.fit.digests, outcome.fit.base_digest)
    return outcome.fit.directions


def _tensor_names(
    layers: Sequence[LayerFit],
) -> dict[tuple[str, str, tuple[int, int]], str]:
    """Return a name for each layer: its own, with more where it is shared."""
    names = Counter(layer.name for layer in layers)
    return {
        _identity(layer): layer.name
        if names[layer.name] == 1
        else f"{layer.name}@{layer.architecture}"
        f"-{layer.shape[0]}x{layer.shape[1]}"
        for layer in layers
    }


def _identity(layer: LayerFit) -> tuple[str, str, tuple[int, int]]:
    return layer.name, layer.architecture, layer.shape


def _metadata(
    layers: Mapping[str, tuple[int, ...]], asked: _Asked
) -> dict[str, str]:
    members = [
        {"id": m.id, "revision": m.revision, "fingerprint": m.fingerprint}
        for m in asked.fit.models
    ]
    return {
        "format": "pt",
        "schema": _SCHEMA,
        "axis": asked.axis,
        "k": str(asked.k),
        "members": json.dumps(members),
        "layers": json.dumps({n: list(m) for n, m in layers.items()}),
    }


def _header(
    regions: Iterable[_Region], metadata: dict[str, str]
) -> tuple[bytes, int]:
    """Return the safetensors header and where the data start."""
    entries: dict[str, Any] = {"__metadata__": metadata}
    offset = 0
    for region in regions:
        for name, shape in region.tensors:
            stop = offset + 4 * math.prod(shape)
            entries[name] = {
                "dtype": "F32",
                "shape": shape,
                "data_offsets": [offset, stop],
            }
            offset = stop
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text, 8 + len(text)


def _write(file: BinaryIO, region: _Region, start: int) -> int:
    """Write a region's pieces and return where the next region starts."""
    rows = 0
    for first, piece in region.pieces:
        rows = len(piece)
        for j, row in enumerate(piece):
            file.seek(start + 4 * (j * region.stride + first))
            file.write(np.ascontiguousarray(row).data)
    return start + 4 * rows * region.stride
