"""Inner products of many vectors, summed in float64."""

from typing import Any

from array_api_compat import array_namespace, device

from spectra.linalg.krylov import (
    OVERSAMPLING,
    leading_eigenpairs,
    starting_block,
)
from spectra.linalg.solvers import leading_eigh

__all__ = [
    "BLOCK",
    "accurate_gram",
    "double_centred",
    "eigenpairs",
    "gram",
]

Array = Any

BLOCK = 16_384
"""Columns of a block whose products are added up: 16 MiB for 256 vectors in
float32. Fixed, so that sums have the same bits whatever memory or workers
there are."""

_PIECE = 64

_LARGE = 640
"""From here on products with the matrix take less time than its reduction,
where few eigenvectors are wanted: a half at 768, a sixth at 1536."""

_EXACT = 1e-14


def gram(X: Array, /) -> Array:
    """Return ``X @ X.T`` in float64, for X of shape (n, d).

    Notes
    -----
    The product is formed in the precision of `X`; only the result is widened.
    Callers keep `X` narrow (`BLOCK` columns) and add the results, so that the
    error of a whole layer stays near 1e-8 of the largest entry in float32.
    """
    xp = array_namespace(X)
    return xp.astype(X @ xp.matrix_transpose(X), xp.float64)


def accurate_gram(X: Array, /) -> Array:
    """Return `gram`, with the squared norms on its diagonal summed in float64.

    Products of different vectors cancel, and so do their rounding errors; the
    terms of a squared norm all have one sign, and theirs do not: no more than
    `_PIECE` of them are summed in the precision of `X`.
    """
    xp = array_namespace(X)
    G = gram(X)
    if X.dtype == xp.float64:
        return G
    n, d = X.shape
    whole = d - d % _PIECE
    pieces = xp.reshape(X[:, :whole], (n, -1, _PIECE))
    norms = xp.sum(_squares(pieces), axis=1) + _squares(X[:, whole:])
    return G + _diagonal(norms - xp.linalg.diagonal(G))


def _squares(X: Array) -> Array:
    """Return sums of squares along the last axis, then in float64."""
    xp = array_namespace(X)
    return xp.astype(xp.linalg.vecdot(X, X), xp.float64)


def _diagonal(values: Array) -> Array:
    xp = array_namespace(values)
    n = values.shape[0]
    return values[:, None] * xp.eye(
        n, dtype=values.dtype, device=device(values)
    )


def double_centred(G: Array, /) -> Array:
    """Return ``J G J`` with ``J = I - 11'/n``, for G of shape (n, n)."""
    xp = array_namespace(G)
    G = G - xp.mean(G, axis=0, keepdims=True)
    return G - xp.mean(G, axis=1, keepdims=True)


def eigenpairs(
    C: Array,
    k: int,
    /,
    *,
    keep: int | None = None,
    tolerance: float = _EXACT,
) -> tuple[Array, Array]:
    """Return the leading eigenvalues of symmetric C, and their vectors.

    Parameters
    ----------
    C
        (n, n), positive semi-definite.
    k
        How many are needed; at most n are returned, largest first.
    keep
        How many are wanted where they come at no further cost.
    tolerance
        Largest error of an eigenvalue, as a share of the largest.

    Returns
    -------
    values
        At least k and at most `keep`.
    vectors
        (n, keep) columns; those beyond the values have not settled.
    """
    n = C.shape[0]
    k = min(k, n)
    keep = min(max(k, keep or k), n)
    if n > _LARGE and 4 * keep <= n:
        xp = array_namespace(C)
        nothing = xp.zeros((n, 0), dtype=C.dtype, device=device(C))
        values, vectors = leading_eigenpairs(
            lambda X: C @ X,
            starting_block(nothing, k + OVERSAMPLING),
            k,
            tolerance=tolerance,
            keep=keep,
        )
        if values.shape[0] >= k:
            return values, vectors
    return _leading(C, keep)


def _leading(C: Array, k: int) -> tuple[Array, Array]:
    """Return the `k` largest eigenvalues, and their vectors, by LAPACK."""
    xp = array_namespace(C)
    values, vectors = leading_eigh(C, k)
    return xp.flip(values), xp.flip(vectors, axis=1)
