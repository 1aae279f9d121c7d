r"""Leading singular triplets, by the solver that suits the shape.

Each returns ``(U, s, V)`` with orthonormal columns and ``X ~ U diag(s) V.T``,
largest first. What each can resolve, measured on heavy-tailed spectra: the
Gram matrix in float64 gives angles to 3e-8 and singular values down to 1e-7
of the largest; block Krylov ends at angles below the root of the rounding,
3e-4 in float32, where eight powers get there. A randomised range finder with
two power iterations is off by 0.4 and is not offered.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace
from array_api_compat import device as device_of

from spectra.linalg.gram import eigenpairs
from spectra.linalg.krylov import beside
from spectra.linalg.solvers import eigh, qr, svd

__all__ = ["SMALL_SIDE", "block_krylov", "factored_svd", "gram_svd"]

Array = Any

_GROWTH = 1.2
"""A Krylov space grows by so much before it is looked at again."""

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
    r"""Return the leading `k` triplets of a large X (m, n).

    Parameters
    ----------
    X
        The matrix.
    k
        How many triplets; k + 16 columns are carried along.
    depth
        At most so many powers of ``X X.T`` in the Krylov space.
    seed
        Of the starting block, drawn by NumPy: the same on every backend.

    Notes
    -----
    Musco and Musco 2015, algorithm 2, each block orthonormal to those before,
    so that ``X.T Q`` is known when the space is complete; it is where the
    directions are off by no more than the root of the rounding of X's dtype,
    and singular values by no more than that rounding. Residuals of
    ``X X.T`` lie in the next block. They turn the leading directions towards
    the rest of the spectrum, for which the first Ritz value beyond the block
    stands, and only in second order towards each other.
    """
    xp = array_namespace(X)
    m, n = X.shape
    most, Xt = min(m, n), xp.matrix_transpose(X)
    width = min(k + 16, most)
    start = np.random.default_rng(seed).standard_normal((n, width))
    start = xp.asarray(start, dtype=X.dtype, device=device_of(X))
    tolerance, looked_at = math.sqrt(xp.finfo(X.dtype).eps), 0
    block = qr(X @ start)[0]
    Q, Z = block[:, :0], xp.astype(start[:, :0], xp.float64)
    C = Z[:0, :]
    for power in range(depth + 1):
        T = Xt @ block
        Q = xp.concat([Q, block], axis=1)
        Z = xp.concat([Z, xp.astype(T, xp.float64)], axis=1)
        C = _with_columns(C, xp.matrix_transpose(Z) @ Z[:, C.shape[0] :])
        room = min(width, most - Q.shape[1])
        is_last = power == depth or room == 0
        is_looked_at = is_last or Q.shape[1] >= _GROWTH * looked_at
        if is_looked_at:
            looked_at = Q.shape[1]
            values, W = _falling(C)
        if is_last:
            break
        Y = X @ T
        block = beside(Q, Y[:, :room])
        R = xp.matrix_transpose(block) @ Y
        if is_looked_at and _off_by(values, W, R, k) <= tolerance:
            break
    W = W[:, :k]
    return (
        Q @ xp.astype(W, X.dtype),
        xp.sqrt(xp.clip(values[:k], min=0.0)),
        _orthonormal(xp.astype(Z @ W, X.dtype)),
    )


def _falling(C: Array) -> tuple[Array, Array]:
    """Return the eigenpairs of symmetric C, largest first."""
    xp = array_namespace(C)
    values, W = eigh(C)
    return xp.flip(values), xp.flip(W, axis=1)


def _with_columns(C: Array, columns: Array) -> Array:
    """Return symmetric C (p, p) with more columns (p + q, q), and rows."""
    xp = array_namespace(C, columns)
    above = columns[: C.shape[0], :]
    left = xp.concat([C, xp.matrix_transpose(above)], axis=0)
    return xp.concat([left, columns], axis=1)


def _off_by(values: Array, W: Array, R: Array, k: int) -> float:
    """Return about the sine of the largest angle to the `k` eigenvectors.

    Parameters
    ----------
    values, W
        Ritz values, and vectors in a basis of the space.
    R
        What its last block adds to the next.
    k
        Of the leading Ritz vectors.
    """
    xp = array_namespace(values, R)
    width = R.shape[1]
    if values.shape[0] <= width:
        return math.inf
    R = xp.astype(R, W.dtype) @ W[-width:, :]
    own, block = (
        float(xp.linalg.matrix_norm(R[:, :count])) for count in (k, width)
    )
    inner, outer = (float(values[k - 1] - values[i]) for i in (k, width))
    if min(inner, outer) <= 0:
        return math.inf
    return own / outer * (1 + block / inner)


def factored_svd(
    A: Array, B: Array, /, *, scale: float, tolerance: float = 0.0
) -> tuple[Array, Array, Array]:
    """Return all triplets of ``scale * B @ A`` without forming it.

    Parameters
    ----------
    A, B
        Factors of shape (r, n) and (m, r), in float64; there are min(r, m, n)
        triplets.
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
