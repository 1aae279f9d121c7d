"""Members' leading directions, stacked: overlaps and joint spectra of sides.

Every layer ends here, whatever form its maps had: N members, K directions a
side as rows, singular values, and how many of them each member really has.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from array_api_compat import array_namespace
from array_api_compat import device as device_of
from numpy.typing import NDArray

from spectra.backend.device import to_host
from spectra.linalg.gram import accurate_gram
from spectra.linalg.overlap import PairSums, tiles
from spectra.linalg.solvers import power_of_two
from spectra.linalg.stacked import Rows, stack_eigenpairs
from spectra.subspaces.result import Directions

__all__ = [
    "CONSENSUS",
    "JOINT",
    "FactoredProducts",
    "Stack",
    "factored_products",
    "fold_sums",
    "mean_projector",
    "needed",
    "significant",
    "streamed_memory",
    "streamed_products",
    "tile_size",
]

Array = Any
Float = NDArray[np.float64]

JOINT = 64
"""Eigenvalues kept of the joint spectrum of a side."""

_TILE = 128
"""Rows and columns of a tile of a map: as many entries as `BLOCK`."""

CONSENSUS = 16
"""Directions of the projector mean whose members are kept."""


def tile_size(rank: int, /) -> int:
    """Return members a tile of products: about 1024 rows, whatever the rank.

    A function of the rank alone, so that sums have the same bits whatever
    memory there is.
    """
    return max(1, 1024 // rank)


def needed(rank: int, /) -> int:
    """Return how many eigenvalues of a side have to settle.

    All that are judged, and as many as each member has directions; the others
    up to `JOINT` are kept where they settle on the way.
    """
    return min(JOINT, max(CONSENSUS, rank))


def significant(vectors: Array, eigenvalues: Float, resolution: float) -> Any:
    """Return the leading `vectors` whose eigenvalues are no rounding."""
    largest = float(eigenvalues[0]) if eigenvalues.size else 0.0
    above = np.count_nonzero(eigenvalues > resolution * largest)
    return vectors[:, : min(int(above), vectors.shape[1])]


@dataclass(frozen=True, slots=True)
class Stack:
    """Thin singular value decompositions of N maps, padded with zeros.

    Attributes
    ----------
    U, V
        (N, K, out) and (N, K, in): orthonormal rows, zero beyond a member's
        rank. On the device.
    s
        (N, K) singular values on the host, zero beyond a member's rank.
    """

    U: Array
    V: Array
    s: Float

    @property
    def dtype(self) -> Any:
        """Return NumPy's name for what U and V are kept in."""
        xp = array_namespace(self.U)
        return np.float32 if self.U.dtype == xp.float32 else np.float64

    @property
    def ranks(self) -> NDArray[np.int64]:
        """Return each member's number of directions."""
        return np.asarray(np.count_nonzero(self.s, axis=1))

    def truncated(self, k: int, /) -> "Stack":
        """Return the leading `k` directions of each member."""
        k = min(k, self.s.shape[1])
        return Stack(self.U[:, :k, :], self.V[:, :k, :], self.s[:, :k])

    def directions(self, output: Any, input_: Any, /) -> Directions:
        """Return what --save-directions keeps, joint directions included."""
        return Directions(
            left=_host32(self.U).transpose(0, 2, 1),
            right=_host32(self.V).transpose(0, 2, 1),
            output=_host32(output),
            input=_host32(input_),
        )

    def weighted(self) -> tuple[Rows, Rows]:
        """Return stacks T whose ``T.T @ T`` are C_out and C_in."""
        s = self.weights()
        return Rows(self.U, s), Rows(self.V, s)

    def weighted_input(self, scale: float) -> Array:
        """Return V with directions as long as scale times their s."""
        return self.V * self.weights(scale)[:, :, None]

    def weights(self, scale: float = 1.0) -> Array:
        """Return ``scale * s`` on the device."""
        xp, s = array_namespace(self.U), self.s * scale
        return xp.asarray(s, dtype=self.U.dtype, device=device_of(self.U))


def _host32(values: Array) -> NDArray[np.float32]:
    return to_host(values).astype(np.float32)


def mean_projector(F: Array, /) -> tuple[Float, Float]:
    """Return the spectrum of (1/N) sum F_i^T F_i, and who has its directions.

    Parameters
    ----------
    F
        (N, K, d), rows orthonormal or zero.

    Returns
    -------
    values
        Leading eigenvalues.
    consensus
        (N, C): the share of leading eigenvector l in the span of F_i.
    """
    xp = array_namespace(F)
    k = needed(F.shape[1])
    values, vectors = stack_eigenpairs(Rows(F), k, keep=JOINT)
    kept = min(CONSENSUS, values.shape[0])
    lead = xp.astype(vectors[:, :kept], F.dtype)
    shares = xp.sum((F @ lead) ** 2, axis=1)
    spectrum = np.clip(to_host(values) / F.shape[0], 0.0, None)
    return np.asarray(spectrum), np.clip(to_host(shares), 0.0, 1.0)


def fold_sums(Y: Array, folds: NDArray[np.int64], /) -> Float:
    """Return the (F, m, m) sums of Y_i^T Y_i over each fold's members.

    Parameters
    ----------
    Y
        (N, r, m).
    folds
        N fold numbers, -1 for members that count in none.
    """
    xp = array_namespace(Y)
    sums = []
    for fold in range(int(folds.max()) + 1):
        chosen = [int(i) for i in np.flatnonzero(folds == fold)]
        rows = xp.concat([Y[i, :, :] for i in chosen], axis=0)
        rows = xp.astype(rows, xp.float64)
        sums.append(to_host(xp.matrix_transpose(rows) @ rows))
    return np.stack(sums)


@dataclass(frozen=True, slots=True)
class FactoredProducts:
    """Products of factored maps, N x N each, and what is known of pairs.

    Attributes
    ----------
    inner
        <x_i, x_j>.
    rows
        The squared Frobenius norms of x_i x_j^T.
    output, input
        Of the leading directions.
    """

    inner: Float
    rows: Float
    output: PairSums
    input: PairSums


def factored_products(
    stack: Stack, k: int, /, *, dtype: Any
) -> FactoredProducts:
    r"""Return Gram matrix and overlaps of factored maps.

    Parameters
    ----------
    stack
        Complete decompositions: x_i is exactly ``U_i.T @ diag(s_i) @ V_i``.
    k
        Directions a member that count in the overlaps.
    dtype
        Of the products; float64 where members hardly differ.

    Notes
    -----
    With P = U_i U_j^T and Q = V_i V_j^T, <x_i, x_j> is the sum over P, Q and
    s_i s_j^T entry by entry; the overlaps are the sums of P^2 and Q^2 over
    their leading k x k part: one pair of products serves all.
    """
    xp = array_namespace(stack.U)
    kind = getattr(xp, np.dtype(dtype).name)
    n, r, _ = stack.U.shape
    # Fourth powers of float32 are numbers near one only.
    scale = power_of_two(stack.s)
    s = xp.astype(stack.weights(scale), kind)
    inner, rows = np.zeros((n, n)), np.zeros((n, n))
    k = min(k, r)
    ranks = np.minimum(stack.ranks, k)
    pairs = PairSums.empty(ranks, k), PairSums.empty(ranks, k)
    for a, b in tiles(n, tile_size(r)):
        P, Q = (
            _block_products(
                xp.astype(F[a, :, :], kind, copy=False),
                xp.astype(F[b, :, :], kind, copy=False),
            )
            for F in (stack.U, stack.V)
        )
        inner[a, b] = _weighted_sums(P * Q, s[a, :], s[b, :])
        inner[b, a] = inner[a, b].T
        squares = P * P, Q * Q
        rows[a, b] = _weighted_sums(squares[1], s[a, :] ** 2, s[b, :] ** 2)
        rows[b, a] = rows[a, b].T
        for side, M, M2 in zip(pairs, (P, Q), squares, strict=True):
            side.take(a, b, M[:, :k, :, :k], M2[:, :k, :, :k])
    inner, rows = inner / scale**2, rows / scale**4
    if dtype == np.float32:
        # The terms of a squared norm have one sign, and so their errors.
        np.fill_diagonal(inner, np.sum(stack.s**2, axis=1))
    return FactoredProducts(inner, rows, *pairs)


def streamed_products(
    stack: Stack, k: int, /, *, dtype: Any
) -> FactoredProducts:
    """Return the same from the entries of the maps, a square tile at a time.

    N maps take N (N / 2 + r) out in multiplications where `factored_products`
    takes N^2 r^2 (out + in) / 2: fewer of large ranks. `rows` are of the
    leading k directions alone, as they are of dense maps.

    Parameters
    ----------
    stack, k, dtype
        As for `factored_products`.
    """
    xp = array_namespace(stack.U)
    kind = getattr(xp, np.dtype(dtype).name)
    n, _, out = stack.U.shape
    scale = power_of_two(stack.s)
    s = xp.astype(stack.weights(scale), kind)[:, :, None]
    inner = np.zeros((n, n))
    for a in _pieces(out):
        U = xp.astype(stack.U[:, :, a], kind, copy=False) * s
        for b in _pieces(stack.V.shape[2]):
            V = xp.astype(stack.V[:, :, b], kind, copy=False)
            X = xp.reshape(xp.matrix_transpose(U) @ V, (n, -1))
            inner += to_host(accurate_gram(X))
    pairs = factored_products(stack.truncated(k), k, dtype=dtype)
    return replace(pairs, inner=inner / scale**2)


def streamed_memory(n: int, r: int, /) -> int:
    """Return the bytes that `streamed_products` takes for n maps of rank r."""
    return 8 * n * (2 * _TILE**2 + 4 * r * _TILE + 3 * n)


def _pieces(d: int) -> Iterator[slice]:
    return (slice(i, min(i + _TILE, d)) for i in range(0, d, _TILE))


def _block_products(F: Array, G: Array) -> Array:
    """Return the products of all rows of members of F and G, (p, r, q, r)."""
    xp = array_namespace(F, G)
    (p, r, d), q = F.shape, G.shape[0]
    M = xp.reshape(F, (-1, d)) @ xp.matrix_transpose(xp.reshape(G, (-1, d)))
    return xp.reshape(M, (p, r, q, r))


def _weighted_sums(M: Array, s: Array, t: Array) -> Float:
    """Return s_i^T M_ij t_j of each pair (p, q); sums of r in M's precision.

    The second sum, over what the first left of r entries, is in float64.
    """
    xp = array_namespace(M, s, t)
    p, r, q, _ = M.shape
    left = xp.reshape(s, (p, 1, r)) @ xp.reshape(M, (p, r, q * r))
    left = xp.reshape(left, (p, q, r)) * t
    return np.asarray(to_host(xp.sum(left, axis=2, dtype=xp.float64)))
