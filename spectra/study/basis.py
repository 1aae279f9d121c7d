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

from spectra.backend.memory import Budget
from spectra.core.errors import IntegrityError, Quarantine, UsageError
from spectra.core.events import Observer, Tally
from spectra.core.settings import FitSettings
from spectra.core.text import printable
from spectra.store.atomic import replacing
from spectra.store.outputs import check_output
from spectra.study.again import Again, members_again, require_same
from spectra.study.how import how_of
from spectra.study.scan import opening
from spectra.subspaces.joint import joint_subspace
from spectra.subspaces.layer import LayerTask, digests, fit_layer
from spectra.subspaces.materialise import PIECE, combined
from spectra.subspaces.result import Directions, LayerFit, PopulationFit
from spectra.subspaces.stacks import JOINT
from spectra.weights.bytes import FileSource, Opener
from spectra.weights.header import read_header
from spectra.weights.limits import Limits
from spectra.weights.stream import TensorReader

__all__ = [
    "BASIS_SCHEMA",
    "Axis",
    "BasisFile",
    "is_basis",
    "layer_names",
    "write_basis",
]

Axis = Literal["model", "output", "input"]


BASIS_SCHEMA = "spectra-basis/1"

_LEAST = 1 << 14
"""Entries of the smallest piece: shorter ones are read too slowly."""


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

    @property
    def subject(self) -> str:
        return self.tensors[0][0].rpartition(".")[0]


@dataclass(frozen=True, slots=True)
class _Asked:
    """What of a layer is written, and what opens its members' files."""

    fit: PopulationFit
    k: int
    axis: Axis
    opener: Opener
    memory: int | None


def write_basis(  # noqa: PLR0913 - one a question
    fit: PopulationFit,
    path: Path,
    /,
    *,
    k: int | Sequence[int],
    axis: Axis,
    layers: tuple[str, ...] = (),
    again: Again | None = None,
    memory: int | None = None,
    on_event: Observer | None = None,
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
        Directions of every layer, or one number for each of `again`.
    axis
        Which subspace.
    layers
        Globs of layer names; all where empty.
    again
        What `members_again` gave for these layers, where it is known.
    memory
        What the process may take along the model axis; None for no limit.
    on_event
        Told after each layer.

    Raises
    ------
    IntegrityError
        When a checkpoint is not what it was when it was fitted.
    UsageError
        When no layer matches.
    BudgetError
        When a layer does not fit `memory`, before anything is written.
    """
    if isinstance(k, int) and k > JOINT and axis != "model":
        raise UsageError(
            "E_LEVEL", f"a side has {JOINT} directions at most, not {k}"
        )
    again = again or members_again(fit, layers)
    tasks = [(fit.layers[place], task) for place, task in again.layers]
    counts = [k] * len(tasks) if isinstance(k, int) else list(k)
    if axis == "model":
        for (_, task), count in zip(tasks, counts, strict=True):
            _entries(task, count, memory)
    names = _tensor_names([layer for layer, _ in tasks])
    read = {file for _, task in tasks for file in task.files}
    check_output(path, is_ours=is_basis, inputs=read)
    members = {names[_identity(layer)]: layer.members for layer, _ in tasks}
    nbytes = sum(task.nbytes for _, task in tasks)
    tally = Tally(on_event, "basis", len(tasks), nbytes)
    with opening(read) as opener:
        asked = _Asked(fit, max(counts), axis, opener, memory)
        regions = [
            _region(
                names[_identity(layer)], layer, task, replace(asked, k=count)
            )
            for (layer, task), count in zip(tasks, counts, strict=True)
        ]
        header, start = _header(regions, _metadata(members, asked))
        with replacing(path) as temporary, temporary.open("wb") as file:
            file.write(header)
            for (_, task), region in zip(tasks, regions, strict=True):
                start = _write(file, region, start)
                tally.tell(region.subject, task.nbytes)
    return BasisFile(path, axis, tuple(members), path.stat().st_size)


def is_basis(path: Path, /) -> bool:
    """Return whether a file is one that `write_basis` wrote."""
    try:
        with FileSource(path) as source:
            header = read_header(source, file=str(path), limits=Limits())
    except Quarantine:
        return False
    return header.metadata.get("schema") == BASIS_SCHEMA


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
    require_same(layer, *digests(task, asked.opener))
    subspace = joint_subspace(layer, asked.k)
    found = subspace.coefficients.shape[1]
    entries = _entries(task, found, asked.memory)
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
            entries=entries,
        ),
    )


def _entries(task: LayerTask, k: int, memory: int | None) -> int:
    """Return how many entries of a map are combined at a time."""
    if memory is None:
        return PIECE
    size = task.key.shape[0] * task.key.shape[1]
    sources = [source for _, _, source in task.holders]
    turned = any(getattr(source, "transposed", False) for source in sources)
    # The largest tensor as it is stored, the base in float64, all factors.
    fixed = max(ref.nbytes for ref in task.refs) + 8 * size * bool(task.base)
    if task.key.kind == "low-rank":
        fixed += 8 * sum(ref.size for ref in task.refs)
    # A row is there in float64 and in float32, and what is added to it.
    each = 24 * (1 + k) + 24
    room = Budget.of_process(memory, workers=1)
    least = size if turned else min(size, max(_LEAST, task.key.shape[1]))
    room.require(f"layer {printable(task.key.name)}", fixed + least * each)
    return min(PIECE, max(least, (room.nbytes - fixed) // each))


def _side_axis(name: str, joint: Any, k: int) -> _Region:
    basis = np.ascontiguousarray(joint[:, :k])
    return _Region(
        ((f"{name}.basis", basis.shape),),
        basis.size,
        ((0, basis.reshape(1, -1)),),
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
    require_same(layer, outcome.fit.digests, outcome.fit.base_digest)
    return outcome.fit.directions


def layer_names(layers: Sequence[LayerFit], /) -> tuple[str, ...]:
    """Return what each layer is called in a file."""
    names = _tensor_names(layers)
    return tuple(names[_identity(layer)] for layer in layers)


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
        "schema": BASIS_SCHEMA,
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
