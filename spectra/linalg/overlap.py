"""Many small subspaces against each other, tile by tile."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace
from array_api_compat import device as device_of
from numpy.typing import NDArray

from spectra.backend.device import to_host
from spectra.linalg.solvers import eigvalsh

__all__ = [
    "ANGLES",
    "Angles",
    "PairSums",
    "block_sums",
    "frobenius_overlap",
    "pair_sums",
    "tiles",
]

Array = Any
Float = NDArray[np.float64]

ANGLES = 128
"""Up to so many subspaces the principal angles of every pair are found: 15
microseconds a pair of 16 directions, where the overlap takes 0.1."""


_ROUNDING = 1e-13


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


@dataclass(slots=True)
class Angles:
    """Principal angles of every pair of n subspaces.

    Attributes
    ----------
    geodesic
        n x n norms of the angles.
    cosines
        k sums of the cosines, largest first, of the pairs that have so many.
    pairs
        k numbers of such pairs.
    """

    geodesic: Float
    cosines: Float
    pairs: Float

    @property
    def mean_cosines(self) -> Float:
        """Return the means of `cosines`."""
        return self.cosines / np.maximum(1.0, self.pairs)

    def take(self, a: slice, b: slice, M: Array, shared: Any, /) -> None:
        """Take in products (p, k, q, k); `shared` are p x q angles a pair."""
        xp = array_namespace(M)
        p, k, q, _ = M.shape
        blocks = xp.reshape(xp.permute_dims(M, (0, 2, 1, 3)), (p * q, k, k))
        i, j = np.divmod(np.arange(p * q), q)
        if a == b:
            chosen = np.flatnonzero(i < j)
            i, j = i[chosen], j[chosen]
            where = xp.asarray(chosen, device=device_of(M))
            blocks = xp.take(blocks, where, axis=0)
        cosines = _cosines(blocks)
        there = np.arange(k) < shared[i, j][:, None]
        angles = np.where(there, np.arccos(cosines), 0.0)
        i, j = i + a.start, j + b.start
        self.geodesic[i, j] = np.linalg.norm(angles, axis=1)
        self.geodesic[j, i] = self.geodesic[i, j]
        self.cosines += np.sum(cosines, axis=0, where=there)
        self.pairs += there.sum(axis=0)


def _cosines(M: Array) -> Float:
    """Return the singular values of M (n, k, k), which are cosines.

    They are roots of eigenvalues, at two thirds of the time: a cosine below
    1e-8 is not known better than that.
    """
    xp = array_namespace(M)
    M = xp.astype(M, xp.float64)
    squares = to_host(eigvalsh(xp.matrix_transpose(M) @ M))
    cosines = np.sqrt(np.clip(squares[:, ::-1], 0.0, 1.0))
    # Nearer to one than rounding can tell: no angle.
    cosines[cosines > 1 - _ROUNDING] = 1.0
    return np.asarray(cosines)


@dataclass(slots=True)
class PairSums:
    r"""What is known of every pair of n subspaces of at most k directions.

    Attributes
    ----------
    ranks
        Directions of each.
    overlap
        n x n: :math:`\|F_i F_j^\top\|_F^2`.
    squares
        k x k: the sum over pairs of the squared product of direction a of the
        one and b of the other.
    angles
        None for more than `ANGLES` subspaces.
    """

    ranks: NDArray[np.int64]
    overlap: Float
    squares: Float
    angles: Angles | None

    @classmethod
    def empty(cls, ranks: NDArray[np.int64], k: int, /) -> "PairSums":
        """Return the sums of no pairs."""
        n = len(ranks)
        angles = (
            Angles(np.zeros((n, n)), np.zeros(k), np.zeros(k))
            if n <= ANGLES
            else None
        )
        return cls(ranks, np.zeros((n, n)), np.zeros((k, k)), angles)

    @property
    def phi(self) -> Float:
        """Return the mean of `squares` over pairs."""
        n = len(self.ranks)
        return self.squares / max(1, n * (n - 1) // 2)

    def take(self, a: slice, b: slice, M: Array, squares: Array, /) -> None:
        """Take in products of the members in a and b, and their squares.

        Parameters
        ----------
        a, b
            Blocks of p and q members.
        M, squares
            (p, k, q, k) each.
        """
        xp = array_namespace(M)
        p, k, q, _ = M.shape
        # Sums of k squares in their own precision, the others in float64. A
        # product is faster than the sum of a short axis.
        one = xp.ones(k, dtype=M.dtype, device=device_of(M))
        across = xp.reshape(xp.reshape(squares, (-1, k)) @ one, (p, k, q))
        self.overlap[a, b] = to_host(xp.sum(across, axis=1, dtype=xp.float64))
        self.overlap[b, a] = self.overlap[a, b].T
        down = xp.sum(xp.reshape(squares, (p, k * q * k)), axis=0)
        down = xp.reshape(down, (k, q, k))
        each = to_host(xp.sum(down, axis=1, dtype=xp.float64))
        if a == b:
            # A member beside itself is no pair, and each pair is here twice.
            own = [to_host(squares[i, :, i, :]) for i in range(p)]
            each = (each - np.sum(own, axis=0, dtype=float)) / 2
        self.squares += (each + each.T) / 2
        if self.angles is not None:
            shared = np.minimum.outer(self.ranks[a], self.ranks[b])
            self.angles.take(a, b, M, shared)


def pair_sums(
    F: Array, ranks: NDArray[np.int64], /, *, tile: int = 32
) -> PairSums:
    """Return what is known of every pair of subspaces.

    Parameters
    ----------
    F
        (n, k, d): the rows of each F_i are orthonormal, zero beyond its rank.
    ranks
        n numbers of directions.
    tile
        Members a block.
    """
    xp = array_namespace(F)
    n, k, d = F.shape
    sums = PairSums.empty(ranks, k)
    for a, b in tiles(n, tile):
        left = xp.reshape(F[a, :, :], (-1, d))
        right = xp.reshape(F[b, :, :], (-1, d))
        M = left @ xp.matrix_transpose(right)
        M = xp.reshape(M, (a.stop - a.start, k, b.stop - b.start, k))
        sums.take(a, b, M, M * M)
    return sums


def frobenius_overlap(F: Array, /, *, tile: int = 32) -> Float:
    r"""Return the n x n matrix of :math:`\|F_i F_j^\top\|_F^2`, on the host.

    Parameters
    ----------
    F
        (n, k, d).
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
        block = to_host(
            block_sums(M * M, a.stop - a.start, b.stop - b.start, k)
        )
        out[a, b] = block
        out[b, a] = block.T
    return out
