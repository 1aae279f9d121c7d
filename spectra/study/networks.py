"""Plain networks in checkpoints: which there are, and their weights."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray

from spectra.align.chains import Chain, ChainLayer, find_chains
from spectra.core.catalog import (
    Catalog,
    Checkpoint,
    DenseSource,
    Quarantined,
)
from spectra.core.errors import Quarantine, UsageError
from spectra.core.tensors import REAL_DTYPES
from spectra.core.text import printable
from spectra.study.scan import opening
from spectra.study.tensors import tensors_of, wrapper_of
from spectra.weights.bytes import Opener
from spectra.weights.dtypes import decode_into
from spectra.weights.soundness import fault_in
from spectra.weights.stream import TensorReader

__all__ = ["Networks", "read_networks"]

Matrix = NDArray[np.float64]

_SHOWN = 3
"""As many matrices are named where they are no chain."""


@dataclass(frozen=True, slots=True)
class Networks:
    """The networks of a population that have the same chains.

    Attributes
    ----------
    models
        In the order of their ids.
    chains
        What they have in common.
    weights
        By chain, then by member, the matrices (out, in), with the bias as
        one more column where there is one.
    left_out
        Id of each other checkpoint, and why.
    quarantine
        What was set aside.
    """

    models: tuple[Checkpoint, ...]
    chains: tuple[Chain, ...]
    weights: tuple[tuple[list[Matrix], ...], ...]
    left_out: tuple[tuple[str, str], ...]
    quarantine: tuple[Quarantined, ...]


@dataclass(frozen=True, slots=True)
class _Described:
    """A checkpoint, its tensors by the population's names, its chains."""

    model: Checkpoint
    tensors: Mapping[str, DenseSource]
    chains: tuple[Chain, ...]


def read_networks(
    catalog: Catalog, /, *, layers: Sequence[str] = ()
) -> Networks:
    """Return the networks whose chains most checkpoints have.

    Parameters
    ----------
    catalog
        The population; exact copies count once.
    layers
        Globs: a chain is taken, whole, where one matches a layer of it.

    Raises
    ------
    UsageError
        When no chain is recognised, or fewer than two checkpoints have it.
    """
    models = sorted(catalog.models, key=lambda model: model.id)
    left_out: list[tuple[str, str]] = []
    quarantine = list(catalog.quarantine)
    described: list[_Described] = []
    read: list[tuple[Checkpoint, list[list[Matrix]]]] = []
    with opening(f.path for model in models for f in model.files) as opener:
        for model in models:
            if model.duplicate_of is not None:
                reason = f"is a copy of {model.duplicate_of}"
                left_out.append((model.id, reason))
                continue
            with _setting_aside(model, quarantine):
                described.append(_describe(model, opener))
        common = _common(described)
        chains = _wanted(common, layers)
        for each in described:
            if each.chains != common:
                reason = "has other chains of layers than most"
                left_out.append((each.model.id, reason))
                continue
            with _setting_aside(each.model, quarantine):
                weights = [_read(each, chain, opener) for chain in chains]
                read.append((each.model, weights))
    if len(read) < 2:
        raise UsageError(
            "E_NOTHING_TO_COMPARE",
            f"{len(read)} of {len(models)} checkpoints can be aligned",
            advice="see what was found: spectra scan SOURCE...",
        )
    return Networks(
        tuple(model for model, _ in read),
        chains,
        tuple(zip(*(weights for _, weights in read), strict=True)),
        tuple(left_out),
        tuple(quarantine),
    )


@contextmanager
def _setting_aside(
    model: Checkpoint, quarantine: list[Quarantined]
) -> Iterator[None]:
    try:
        yield
    except Quarantine as fault:
        quarantine.append(
            Quarantined(model.id, None, fault.code, fault.detail)
        )


def _common(described: Sequence[_Described]) -> tuple[Chain, ...]:
    found = Counter(each.chains for each in described if each.chains)
    if not found:
        raise UsageError(
            "E_SYMMETRY",
            f"no chain of plain layers is all of any of {len(described)}"
            f" checkpoints; {_first_matrices(described)}",
            advice="aligned are linear layers numbered under one module"
            " (net.0, net.2, ... or fc1, fc2, ...) with nothing else there:"
            " no attention, no normalisation, no gate",
        )
    return found.most_common(1)[0][0]


def _first_matrices(described: Sequence[_Described]) -> str:
    """Return what the first checkpoint holds instead, in words."""
    for each in described:
        found = [
            f"{name} {' x '.join(map(str, source.weight.shape))}"
            for name, source in sorted(each.tensors.items())
            if len(source.weight.shape) > 1
        ]
        more = ", ..." if len(found) > _SHOWN else ""
        names = ", ".join(found[:_SHOWN]) or "no matrix"
        return f"{each.model.id} holds {printable(names + more, 300)}"
    return "none could be read"


def _wanted(
    chains: tuple[Chain, ...], globs: Sequence[str]
) -> tuple[Chain, ...]:
    wanted = tuple(
        chain
        for chain in chains
        if not globs
        or any(fnmatchcase(each.name, g) for each in chain for g in globs)
    )
    if not wanted:
        names = ", ".join(each.name for chain in chains for each in chain)
        raise UsageError(
            "E_NOTHING_TO_COMPARE",
            f"no layer of a chain matches {tuple(globs)}",
            advice=f"they are {printable(names)}",
        )
    return wanted


def _describe(model: Checkpoint, opener: Opener) -> _Described:
    """Return what a checkpoint's headers say.

    The catalogue alone does not tell: vectors and matrices of one row are no
    layers there, and here they are biases and last layers.
    """
    wrapper = wrapper_of(model)
    tensors = {
        source.weight.name.removeprefix(wrapper): source
        for source in tensors_of(model, opener)
    }
    shapes = {
        name: source.weight.shape[:: -1 if source.transposed else 1]
        for name, source in tensors.items()
        if source.weight.dtype in REAL_DTYPES
    }
    unread = dict.fromkeys(tensors.keys() - shapes.keys(), ())
    return _Described(model, tensors, find_chains(shapes | unread))


def _read(each: _Described, chain: Chain, opener: Opener) -> list[Matrix]:
    files = {file.path: file for file in each.model.files}
    reader = TensorReader(files, opener)
    return [_matrix(layer, each.tensors, reader) for layer in chain]


def _matrix(
    layer: ChainLayer,
    tensors: Mapping[str, DenseSource],
    reader: TensorReader,
) -> Matrix:
    names = [layer.weight, *([layer.bias] if layer.bias else [])]
    return np.column_stack([_values(tensors[n], reader) for n in names])


def _values(source: DenseSource, reader: TensorReader) -> Matrix:
    ref = source.weight
    values = np.empty(ref.size)
    decode_into(reader.read(ref, 0, ref.size), ref.dtype, values)
    fault = fault_in(values, ref.dtype)
    if fault is not None:
        raise Quarantine(fault.code, f"{ref.name} {fault.detail}")
    matrix = values.reshape(ref.shape)
    return matrix.T if source.transposed else matrix
