"""One member of a layer from what is kept of it, in pieces of entries."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from spectra.core.tensors import TensorRef
from spectra.weights.stream import DenseReader, TensorReader

__all__ = ["rebuilt"]

Float = NDArray[np.float64]


def rebuilt(
    mean: TensorRef,
    basis: TensorRef,
    coordinates: NDArray[np.float32],
    base: DenseReader | None,
    tensors: TensorReader,
    /,
    *,
    entries: int,
) -> Iterator[tuple[int, Float]]:
    r"""Yield :math:`m + \sum_l c_l v_l`, and the base where there is one.

    Parameters
    ----------
    mean, basis
        Of a file that `~spectra.subspaces.materialise.combined` filled, in
        float32: (out, in) and (k, out, in).
    coordinates
        c, k numbers.
    base
        Reads what was subtracted, as its one member; None for nothing.
    tensors
        Reads mean and basis.
    entries
        Of a piece, at most.

    Yields
    ------
    start : int
        Position of the piece in the flattened map (out, in).
    piece : array
        Its entries, summed in float64.
    """
    for start in range(0, mean.size, entries):
        stop = min(start + entries, mean.size)
        piece = tensors.read(mean, start, stop).view("<f4").astype(np.float64)
        for number, c in enumerate(coordinates.astype(np.float64)):
            at = number * mean.size
            row = tensors.read(basis, at + start, at + stop)
            piece += c * row.view("<f4")
        if base is not None:
            piece += base.block(0, start, stop)
        yield start, piece
