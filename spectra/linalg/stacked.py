"""Spectra of ``T.T @ T`` for a stack T of weighted directions, (n, d).

The smaller of ``T.T @ T`` and ``T @ T.T`` is formed where it is small; where
neither is, T is only ever multiplied.
"""

from typing import Any

from array_api_compat import array_namespace
from array_api_compat import device as device_of

from spectra.linalg.gram import eigenpairs, gram
from spectra.linalg.krylov import (
    OVERSAMPLING,
    leading_eigenpairs,
    starting_block,
)

__all__ = ["WIDE", "stack_eigenpairs"]

Array = Any

WIDE = 5120
"""Up to so many rows and columns a symmetric matrix is formed and solved."""


def stack_eigenpairs(T: Array, k: int, /) -> tuple[Array, Array]:
    """Return the leading eigenpairs of ``T.T @ T``, or as many as settle.

    Parameters
    ----------
    T
        Weighted directions, (n, d).
    k
        At most min(n, d) are returned; the vectors are (d, k).

    Notes
    -----
    ``T @ T.T`` has the same non-zero eigenvalues: the smaller one is formed.
    """
    xp = array_namespace(T)
    if min(T.shape) > WIDE:
        return _by_products(T, k)
    if T.shape[0] >= T.shape[1]:
        return eigenpairs(gram(xp.matrix_transpose(T)), k)
    values, left = eigenpairs(gram(T), k)
    V = xp.linalg.qr(xp.matrix_transpose(T) @ xp.astype(left, T.dtype))[0]
    return values, V


def _by_products(T: Array, k: int) -> tuple[Array, Array]:
    xp = array_namespace(T)

    def apply(X: Array) -> Array:
        Y = xp.matrix_transpose(T) @ (T @ xp.astype(X, T.dtype))
        return xp.astype(Y, xp.float64)

    nothing = xp.zeros((T.shape[1], 0), dtype=xp.float64, device=device_of(T))
    start = starting_block(nothing, k + OVERSAMPLING)
    tolerance = 1e-6 if T.dtype == xp.float32 else 1e-12
    return leading_eigenpairs(apply, start, k, tolerance=tolerance)
