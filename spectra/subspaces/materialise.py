"""A joint subspace as arrays: combinations of members, streamed by rows."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.core.catalog import DenseSource, LayerSource, LowRankSource
from spectra.subspaces.joint import Subspace
from spectra.weights.stream import (
    DenseReader,
    TensorReader,
    read_low_rank,
)

__all__ = ["PIECE", "combined"]

PIECE = 1 << 20
"""Entries of a map that are combined at a time."""


def combined(
    subspace: Subspace,
    sources: Sequence[LayerSource],
    base: DenseSource | None,
    tensors: TensorReader,
    /,
    *,
    entries: int = PIECE,
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield the mean and the directions of a subspace in pieces of entries.

    Parameters
    ----------
    subspace
        What to materialise.
    sources
        Where its members keep the layer, in their order.
    base
        What was subtracted from each in the fit.
    tensors
        Does the reading.
    entries
        Of a piece, at most; of adapters a row at least.

    Yields
    ------
    start : int
        Position of the piece in the flattened map (out, in).
    piece : array of shape (1 + k, entries)
        The mean first, then each direction.
    """
    n, _ = subspace.coefficients.shape
    weights = np.column_stack([np.full(n, 1 / n), subspace.coefficients])
    factors = tuple(s for s in sources if isinstance(s, LowRankSource))
    if factors:
        return _from_factors(
            weights, factors, subspace.shape, tensors, entries
        )
    whole = tuple(s for s in sources if isinstance(s, DenseSource))
    reader = DenseReader(
        subspace.shape, whole, base, np.float64, False, tensors
    )
    return _from_whole(weights, reader, entries)


def _from_factors(
    weights: Any,
    sources: Sequence[LowRankSource],
    shape: tuple[int, int],
    tensors: TensorReader,
    entries: int,
) -> Iterator[tuple[int, Any]]:
    updates = [read_low_rank(source, tensors) for source in sources]
    rows = max(1, entries // shape[1])
    for start in range(0, shape[0], rows):
        stop = min(start + rows, shape[0])
        piece = np.zeros((weights.shape[1], (stop - start) * shape[1]))
        for weight, update in zip(weights, updates, strict=True):
            part = update.rows(start, stop).reshape(1, -1)
            piece += weight[:, None] * part
        yield start * shape[1], piece.astype(np.float32)


def _from_whole(
    weights: Any, reader: DenseReader, entries: int
) -> Iterator[tuple[int, Any]]:
    """Combine in float64, less the first member, which the mean gets back."""
    # A member stored in x out is read whole for every piece: one piece, then.
    turned = any(source.transposed for source in reader.sources)
    step = reader.size if turned else entries
    for start in range(0, reader.size, step):
        stop = min(start + step, reader.size)
        first = reader.block(0, start, stop)
        piece = np.zeros((weights.shape[1], stop - start))
        piece[0] = first
        for i in range(1, len(reader.sources)):
            moved = reader.block(i, start, stop) - first
            piece += weights[i][:, None] * moved
        yield start, piece.astype(np.float32)
