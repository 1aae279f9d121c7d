"""Many small subspaces against each other, tile by tile."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray

from spectra.backend.device import to_host

__all__ = ["block_sums", "frobenius_overlap", "tiles"]

Array = Any


def tiles(n: int, size: int, /) -> Iterator[tuple[slice, slice]]:
    """Yield the upper-triangular pairs of blocks of ``range(n)``.

    Examples
    --------
    >>> [(a.start, b.start) for a, b in tiles(5, 2)]
    [(0, 0), (0, 2), (0, 4), (2, 2), (2, 4), (4, 4)]
    """
    starts = range(0, n, size)
    for i in starts:
        for j in starts:
            if i <= j:
                yield slice(i, min(i + size, n)), slice(j, min(j + size, n))


def block_sums(M: Array, n: int, p: int, k: int, /) -> Array:
    """Return the (n, p) sums over k x k blocks of M (n k, p k), in float64."""
    xp = array_namespace(M)
    M = xp.reshape(M, (n, k, p, k))
    return xp.sum(M, axis=(1, 3), dtype=xp.float64)


def frobenius_overlap(F: Array, /, *, tile: int = 32) -> NDArray[np.float64]:
    r"""Return the n x n matrix of :math:`\|F_i F_j^\top\|_F^2`, on the host.

    Parameters
    ----------
    F
        (n, k, d): the rows of each F_i span a subspace (zero rows add none).
    tile
        Members a block.
    """
    xp = array_namespace(F)
    n, k, d = F.shape
    out = np.zeros((n, n))
    for a, b in tiles(n, tile):
        left = xp.reshape(F[a, :, :], (-1, d))
        right = xp.reshape(F[b, :, :], (-1, d))
        M = left @ xp.matrix_transpose(right)
        sums = block_sums(M * M, a.stop - a.start, b.stop - b.start, k)
        block = to_host(sums)
        out[a, b] = block
        out[b, a] = block.T
    return out
