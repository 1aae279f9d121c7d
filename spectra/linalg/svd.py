r"""Leading singular triplets, by the solver that suits the shape.

Each returns ``(U, s, V)`` with orthonormal columns and ``X ~ U diag(s) V.T``,
largest first. What each can resolve, measured on heavy-tailed spectra: the
Gram matrix in float64 gives angles to 3e-8 and singular values down to 1e-7
of the largest; block Krylov in float32 gives angles to 2e-4. A randomised
range finder with two power iterations is off by 0.4 and is not offered.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace
from array_api_compat import device as device_of

from spectra.linalg.gram import eigenpairs
from spectra.linalg.solvers import eigh, qr, svd

__all__ = ["SMALL_SIDE", "block_krylov", "factored_svd", "gram_svd"]

Array = Any

SMALL_SIDE = 1536
"""Up to this min(m, n) the eigenvectors of the Gram matrix are cheaper."""


def gram_svd(X: Array, C: Array, k: int, /) -> tuple[Array, Array, Array]:
    """Return the leading `k` triplets of X (m, n), m <= n, from ``C = X X.T``.

    Parameters
    ----------
    X
        The matrix, m <= n.
    C
        Its Gram matrix (m, m) in float64.
    k
        How many triplets, at most m.
    """
    xp = array_namespace(X, C)
    values, U = eigenpairs(C, k)
    s = xp.sqrt(xp.clip(values, min=0.0))
    V = _orthonormal(xp.matrix_transpose(X) @ xp.astype(U, X.dtype))
    return xp.astype(U, X.dtype), s, V


def _orthonormal(Y: Array) -> Array:
    """Return Q of ``Y = QR`` with the signs that make R's diagonal positive.

    Unlike division by singular values this stays orthonormal where those are
    as small as rounding.
    """
    xp = array_namespace(Y)
    Q, R = qr(Y)
    diagonal = xp.linalg.diagonal(R)
    one = xp.ones_like(diagonal)
    return Q * xp.where(diagonal < 0, -one, one)


def block_krylov(
    X: Array, k: int, /, *, depth: int = 8, seed: int = 0
) -> tuple[Array, Array, Array]:
    """Return the leading `k` triplets of a large X (m, n).

    Parameters
    ----------
    X
        The matrix.
    k
        How many triplets; k + 16 columns are carried along.
    depth
        Powers of ``X X.T`` in the Krylov space.
    seed
        Of the starting block, drawn by NumPy: the same on every backend.

    Notes
    -----
    Musco and Musco 2015, algorithm 2, with each block orthonormalised. The
    number of rows of the space is limited by min(m, n), where it is exact.
    """
    xp = array_namespace(X)
    m, n = X.shape
    width = min(k + 16, m, n)
    depth = min(depth, math.ceil(min(m, n) / width))
    start = np.random.default_rng(seed).standard_normal((n, width))
    start = xp.asarray(start, dtype=X.dtype, device=device_of(X))
    block = qr(X @ start)[0]
    blocks = [block]
    for _ in range(depth):
        block = qr(X @ (xp.matrix_transpose(X) @ block))[0]
        blocks.append(block)
    space = xp.concat(blocks, axis=1)
    Q = qr(space[:, : min(m, n, space.shape[1])])[0]
    small = xp.matrix_transpose(Q) @ X
    C = xp.astype(small, xp.float64)
    W, s, V = gram_svd(small, C @ xp.matrix_transpose(C), k)
    return Q @ W, s, V


def factored_svd(
    A: Array, B: Array, /, *, scale: float, tolerance: float = 0.0
) -> tuple[Array, Array, Array]:
    """Return all triplets of ``scale * B @ A`` without forming it.

    Parameters
    ----------
    A, B
        Factors of shape (r, n) and (m, r), r <= min(m, n), in float64.
    scale
        Multiplies the singular values; its sign goes to the left vectors.
    tolerance
        How far from orthonormal the vectors may be. Factors whose condition
        allows it are made orthonormal by their Gram matrices instead of QR,
        at a third of the cost.
    """
    xp = array_namespace(A, B)
    Bt = xp.matrix_transpose(B)
    right, left = _whitening(A, tolerance), _whitening(Bt, tolerance)
    if right is None or left is None:
        return _factored_by_qr(A, B, scale)
    core = scale * (xp.matrix_transpose(left.R) @ right.R)
    W, s, Zh = svd(core)
    Uh = (xp.matrix_transpose(W) @ left.inverse) @ Bt
    Vh = (Zh @ right.inverse) @ A
    return xp.matrix_transpose(Uh), s, xp.matrix_transpose(Vh)


def _factored_by_qr(
    A: Array, B: Array, scale: float
) -> tuple[Array, Array, Array]:
    xp = array_namespace(A, B)
    left, upper = qr(B)
    right, lower = qr(xp.matrix_transpose(A))
    core = scale * (upper @ xp.matrix_transpose(lower))
    W, s, Zh = svd(core)
    return left @ W, s, right @ xp.matrix_transpose(Zh)


@dataclass(frozen=True, slots=True)
class _Whitening:
    """``F = R @ O`` and ``O = inverse @ F`` with orthonormal rows O."""

    R: Array
    inverse: Array


def _whitening(F: Array, tolerance: float) -> _Whitening | None:
    """Return it for F (r, n), None where O would be off by more than that.

    A Gram matrix squares the condition number: O is off by its square times
    the rounding of F's dtype.
    """
    xp = array_namespace(F)
    if tolerance == 0.0:
        return None
    Ft = xp.matrix_transpose(F)
    values, Q = eigh(F @ Ft)
    eps = float(xp.finfo(F.dtype).eps)
    if float(values[0]) * tolerance <= eps * float(values[-1]):
        return None
    lengths = xp.sqrt(values)
    Qt = xp.matrix_transpose(Q)
    return _Whitening(Q * lengths, Qt / lengths[:, None])
