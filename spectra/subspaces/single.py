"""The spectrum of one layer of one checkpoint, however large it is."""

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.core.catalog import DenseSource, LayerKey, LayerSource
from spectra.linalg.spectrum import (
    Certificate,
    Spectrum,
    of_gram,
    of_matrix,
)
from spectra.subspaces.magnitude import fault_of
from spectra.weights.maps import LowRank
from spectra.weights.soundness import fault_in
from spectra.weights.stream import DenseReader, TensorReader, read_low_rank

__all__ = [
    "PIECE",
    "is_exact",
    "layer_spectrum",
    "nbytes_of",
    "pieces_of",
    "update_spectrum",
    "width_of",
]

Matrix = NDArray[np.float64]

_EXACT_SIDE = 512
"""Up to this lesser side a matrix is decomposed whole."""

_WHOLE = 2**23
"""Entries of a matrix that is decomposed whole, at most: 64 MiB in float64,
and five times that on the way."""

PIECE = 2**21
"""Numbers of a piece: 16 MiB in float64."""


def layer_spectrum(
    key: LayerKey,
    source: LayerSource,
    tensors: TensorReader,
    /,
    *,
    base: DenseSource | None = None,
    keep: NDArray[Any] | None = None,
) -> Spectrum:
    """Return the singular values of one layer, the base subtracted.

    An adapter's are as many as its rank; the others are zero.

    Parameters
    ----------
    key
        The layer.
    source
        Where a checkpoint keeps it.
    tensors
        Does the reading.
    base
        What is subtracted; for adapters None.
    keep
        Filled with all entries: in stored order, an update's row by row. Of
        numbers that `width_of` bytes hold; None for nowhere.

    Raises
    ------
    Quarantine
        When its numbers cannot be used, or the file has changed.
    """
    if not isinstance(source, DenseSource):
        update = read_low_rank(source, tensors)
        found = update_spectrum(update)
        if keep is not None:
            _fill(keep, _rows(update, key.shape))
        return found
    reader = _reader(key, source, base, tensors)
    if not is_exact(key, source):
        return of_gram(_pieces(reader, source, keep), min(key.shape))
    flat = np.concatenate([*_entries(reader, source)])
    if keep is not None:
        keep[:] = flat
    return of_matrix(reader.matrix(flat))


def nbytes_of(
    key: LayerKey, source: LayerSource, /, *, base: DenseSource | None = None
) -> int:
    """Return at most what `layer_spectrum` needs, in bytes."""
    p, q = sorted(key.shape)
    if not isinstance(source, DenseSource):
        return 8 * (p + q) * 8 * source.rank + 3 * 8 * PIECE
    held = p * q * width_of(source)
    whole = held if _is_wide(key, source) else 0
    beside = held if base is not None else 0
    if is_exact(key, source):
        return 6 * 8 * p * q + beside
    return whole + 3 * 8 * PIECE + 4 * 8 * p * p + beside


def width_of(source: LayerSource, /) -> int:
    """Return the bytes of a number that holds each of its entries."""
    narrow = isinstance(source, DenseSource) and source.weight.dtype != "F64"
    return 4 if narrow else 8


def is_exact(key: LayerKey, source: LayerSource, /) -> bool:
    """Return whether all triplets of the whole matrix are wanted.

    In float64 what is stored has values below what a Gram matrix resolves.
    """
    stored = isinstance(source, DenseSource) and width_of(source) == 8
    wanted = stored or min(key.shape) <= _EXACT_SIDE
    return wanted and math.prod(key.shape) <= _WHOLE


def _reader(
    key: LayerKey,
    source: DenseSource,
    base: DenseSource | None,
    tensors: TensorReader,
) -> DenseReader:
    dtype = np.float64 if width_of(source) == 8 else np.float32
    return DenseReader(
        key.shape, (source,), base, dtype, source.transposed, tensors
    )


def _stored(shape: tuple[int, int], transposed: bool) -> tuple[int, int]:
    rows, columns = shape
    return (columns, rows) if transposed else (rows, columns)


def _is_wide(key: LayerKey, source: DenseSource) -> bool:
    rows, columns = _stored(key.shape, source.transposed)
    return rows < columns


def _entries(reader: DenseReader, source: DenseSource) -> Iterator[Any]:
    """Yield the entries in stored order, widened, piece by piece.

    Raises
    ------
    Quarantine
        After the last, when their squares cannot be summed.
    """
    columns = _stored(reader.shape, reader.transposed)[1]
    step = max(1, PIECE // columns) * columns
    peak = 0.0
    for start in range(0, reader.size, step):
        block = reader.block(0, start, min(start + step, reader.size))
        fault = fault_in(block, source.weight.dtype)
        if fault is not None:
            raise fault
        peak = max(peak, float(block.max()), -float(block.min()))
        yield block.astype(np.float64)
    lost = fault_of(peak, np.float64)
    if lost is not None:
        raise lost


def _pieces(
    reader: DenseReader, source: DenseSource, keep: NDArray[Any] | None
) -> Iterator[Matrix]:
    """Yield rows of the matrix, or of its transpose, of the lesser side."""
    rows, columns = _stored(reader.shape, reader.transposed)
    blocks = _entries(reader, source)
    if rows >= columns and keep is None:
        yield from (block.reshape(-1, columns) for block in blocks)
        return
    # Columns of a wide one are strewn over the file.
    flat = np.empty(reader.size, reader.dtype) if keep is None else keep
    _fill(flat, blocks)
    X = flat.reshape(rows, columns)
    yield from pieces_of(X if rows >= columns else X.T)


def pieces_of(X: NDArray[Any], /) -> Iterator[Matrix]:
    """Yield the rows of X in float64, so many that a piece is not large."""
    step = max(1, PIECE // X.shape[1])
    for first in range(0, len(X), step):
        yield X[first : first + step].astype(np.float64)


def _fill(flat: NDArray[Any], blocks: Iterable[NDArray[Any]]) -> None:
    start = 0
    for block in blocks:
        flat[start : start + block.size] = block.reshape(-1)
        start += block.size


def update_spectrum(update: LowRank, /) -> Spectrum:
    """Return the singular values of an adapter's update of one layer.

    Raises
    ------
    Quarantine
        When its numbers cannot be used.
    """
    if update.fault is not None:
        raise update.fault
    eps = float(np.finfo(np.float64).eps)
    U, s, V = update.thin_svd(np.asarray, tolerance=100 * eps)
    lost = fault_of(float(s[0]), np.float64)
    if lost is not None:
        raise lost
    rows, columns = len(U), len(V)
    start, squares = 0, 0.0
    for block in _rows(update, (rows, columns)):
        stop = start + len(block)
        off = block - (U[start:stop] * s) @ V.T
        squares += float(np.sum(off * off))
        start = stop
    size = float(np.sqrt(np.sum(s * s)))
    residual = float(np.sqrt(squares)) / size if size else 0.0
    skew = max(float(np.abs(Q.T @ Q - np.eye(len(s))).max()) for Q in (U, V))
    vectors = V if columns <= rows else U
    floor = max(rows, columns) * eps * float(s[0])
    return Spectrum(s, floor, vectors, Certificate("factors", residual, skew))


def _rows(update: LowRank, shape: tuple[int, int]) -> Iterator[Matrix]:
    rows, columns = shape
    step = max(1, PIECE // columns)
    for start in range(0, rows, step):
        yield update.rows(start, min(start + step, rows))
