"""Members' leading directions, stacked: overlaps and joint spectra of sides.

Every layer ends here, whatever form its maps had: N members, K directions a
side as rows, singular values, and how many of them each member really has.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace
from array_api_compat import device as device_of
from numpy.typing import NDArray

from spectra.backend.device import to_host
from spectra.linalg.krylov import krylov_memory
from spectra.linalg.overlap import block_sums, tiles
from spectra.linalg.stacked import WIDE, stack_spectrum
from spectra.subspaces.result import Directions

__all__ = [
    "JOINT",
    "Stack",
    "factored_products",
    "mean_projector",
    "significant",
    "stack_memory",
    "tile_size",
]

Array = Any
Float = NDArray[np.float64]

JOINT = 64
"""Eigenvalues kept of the joint spectrum of a side."""


def tile_size(rank: int, /) -> int:
    """Return members a tile of products: about 1024 rows, whatever the rank.

    A function of the rank alone, so that sums have the same bits whatever
    memory there is.
    """
    return max(1, 1024 // rank)


def stack_memory(rows: int, d: int, /) -> int:
    """Return the bytes that the spectrum of a stack (rows, d) takes."""
    narrow = min(rows, d)
    return 32 * narrow**2 if narrow <= WIDE else krylov_memory(d, JOINT)


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

    def weighted(self) -> tuple[Array, Array]:
        """Return stacks T whose ``T.T @ T`` are C_out and C_in."""
        xp = array_namespace(self.U)
        s = xp.asarray(self.s, dtype=self.U.dtype, device=device_of(self.U))
        s = s[:, :, None]
        return _rows(self.U * s), _rows(self.V * s)


def _rows(F: Array) -> Array:
    xp = array_namespace(F)
    return xp.reshape(F, (-1, F.shape[2]))


def _host32(values: Array) -> NDArray[np.float32]:
    return to_host(values).astype(np.float32)


def mean_projector(F: Array, /) -> Float:
    """Return the leading eigenvalues of (1/N) sum F_i^T F_i, F (N, K, d)."""
    values = to_host(stack_spectrum(_rows(F), JOINT)) / F.shape[0]
    return np.asarray(np.clip(values, 0.0, None))


def factored_products(stack: Stack, k: int, /) -> tuple[Float, Float, Float]:
    r"""Return Gram matrix and both overlaps of factored maps, N x N each.

    Parameters
    ----------
    stack
        Complete decompositions: x_i is exactly ``U_i.T @ diag(s_i) @ V_i``.
    k
        Directions a member that count in the overlaps.

    Notes
    -----
    With P = U_i U_j^T and Q = V_i V_j^T, <x_i, x_j> is the sum over P, Q and
    s_i s_j^T entry by entry; the overlaps are the sums of P^2 and Q^2 over
    their leading k x k part: one pair of products serves all three.
    """
    xp = array_namespace(stack.U)
    n, r, _ = stack.U.shape
    s = xp.asarray(stack.s, dtype=stack.U.dtype, device=device_of(stack.U))
    out = [np.zeros((n, n)) for _ in range(3)]
    for a, b in tiles(n, tile_size(r)):
        p, q = a.stop - a.start, b.stop - b.start
        P = _rows(stack.U[a, :, :]) @ xp.matrix_transpose(
            _rows(stack.U[b, :, :])
        )
        Q = _rows(stack.V[a, :, :]) @ xp.matrix_transpose(
            _rows(stack.V[b, :, :])
        )
        S = xp.reshape(s[a, :], (-1, 1)) * xp.reshape(s[b, :], (1, -1))
        lead = _leading(xp, P, p, q, r, k), _leading(xp, Q, p, q, r, k)
        blocks = [block_sums(S * P * Q, p, q, r)]
        blocks += [block_sums(M * M, p, q, min(k, r)) for M in lead]
        for matrix, block in zip(out, map(to_host, blocks), strict=True):
            matrix[a, b] = block
            matrix[b, a] = block.T
    np.fill_diagonal(out[0], np.sum(stack.s**2, axis=1))
    return out[0], out[1], out[2]


def _leading(xp: Any, M: Array, p: int, q: int, r: int, k: int) -> Array:
    if k >= r:
        return M
    M = xp.reshape(M, (p, r, q, r))[:, :k, :, :k]
    return xp.reshape(M, (p * k, q * k))
