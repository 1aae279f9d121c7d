"""Spectra of ``T.T @ T`` for a stack T of weighted directions.

T itself is never made: its rows are weighted as they are needed. The smaller
of ``T.T @ T`` and ``T @ T.T`` is formed where it is small; where neither is,
T is only ever multiplied.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from array_api_compat import array_namespace
from array_api_compat import device as device_of

from spectra.linalg.gram import eigenpairs, gram
from spectra.linalg.krylov import (
    OVERSAMPLING,
    krylov_memory,
    leading_eigenpairs,
    starting_block,
)
from spectra.linalg.solvers import qr

__all__ = ["NARROW", "WIDE", "Rows", "stack_eigenpairs", "stack_memory"]

Array = Any

WIDE = 5120
"""Up to so many rows and columns a symmetric matrix is solved whole."""

NARROW = 1536
"""Up to so many rows or columns it is formed: beyond, products are cheaper."""

_PANEL = 2**19
"""Entries that are weighted or multiplied at once: they stay in the cache."""


@dataclass(frozen=True, slots=True)
class Rows:
    """A stack T of directions, (n r, d).

    Attributes
    ----------
    F
        (n, r, d).
    weights
        (n, r): each row of F is as long in T. None for 1.
    removed
        (d, q) orthonormal columns that are taken out of each row of T; None
        for none.
    """

    F: Array
    weights: Array | None = None
    removed: Array | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Return the shape of T."""
        n, r, d = self.F.shape
        return n * r, d

    def panels(self, entries: int = _PANEL, /) -> Iterator[Array]:
        """Yield the rows of T, some members at a time."""
        xp = array_namespace(self.F)
        for F, weights in self._panels(entries):
            X = F if weights is None else F * weights[:, None]
            if self.removed is not None:
                X = X - (X @ self.removed) @ xp.matrix_transpose(self.removed)
            yield X

    def apply(self, X: Array, /) -> Array:
        """Return ``T.T @ (T @ X)`` for X (d, m), in the dtype of F."""
        xp = array_namespace(self.F)
        X = self._without(xp.astype(X, self.F.dtype))
        total = xp.zeros_like(X)
        for F, weights in self._panels(_PANEL):
            Y = F @ X
            if weights is not None:
                Y = Y * (weights * weights)[:, None]
            total = total + xp.matrix_transpose(F) @ Y
        return self._without(total)

    def _panels(self, entries: int) -> Iterator[tuple[Array, Array | None]]:
        xp = array_namespace(self.F)
        n, r, d = self.F.shape
        step = max(1, entries // (r * d))
        for start in range(0, n, step):
            at = slice(start, min(start + step, n))
            F = xp.reshape(self.F[at, :, :], (-1, d))
            weights = self.weights
            if weights is not None:
                weights = xp.reshape(weights[at, :], (-1,))
            yield F, weights

    def _without(self, X: Array) -> Array:
        if self.removed is None:
            return X
        xp = array_namespace(X)
        L = self.removed
        return X - L @ (xp.matrix_transpose(L) @ X)


def stack_memory(rows: int, d: int, k: int, /, *, width: int) -> int:
    """Return the bytes that `stack_eigenpairs` takes beside the stack.

    Parameters
    ----------
    rows, d
        Of the stack.
    k
        Directions that are needed.
    width
        Bytes of an entry.
    """
    narrow = min(rows, d)
    if narrow > NARROW:
        return krylov_memory(d, k) + 2 * width * _PANEL
    whole = width * min(rows * d, 16 * _PANEL if rows >= d else rows * d)
    return whole + max(whole, 32 * narrow**2)


def stack_eigenpairs(
    T: Rows, k: int, /, *, keep: int | None = None
) -> tuple[Array, Array]:
    """Return the leading eigenvalues of ``T.T @ T``, and their vectors.

    Parameters
    ----------
    T
        Weighted directions.
    k
        How many are needed, at most min(T.shape).
    keep
        How many are wanted where they come at little further cost.

    Returns
    -------
    values
        At most `keep` leading ones, those that settled; at least k, or all.
    vectors
        (d, keep) columns; those beyond the values have not settled.

    Notes
    -----
    ``T @ T.T`` has the same non-zero eigenvalues: the smaller one is formed.
    """
    xp = array_namespace(T.F)
    rows, d = T.shape
    keep = min(max(k, keep or k), rows, d)
    if min(rows, d) > NARROW:
        return _by_products(T, k, keep)
    if rows >= d:
        total = None
        for X in T.panels(16 * _PANEL):
            part = gram(xp.matrix_transpose(X))
            total = part if total is None else total + part
        return eigenpairs(total, k, keep=keep, tolerance=_tolerance(T))
    whole = xp.concat(list(T.panels()), axis=0)
    values, left = eigenpairs(
        gram(whole), k, keep=keep, tolerance=_tolerance(T)
    )
    product = xp.matrix_transpose(whole) @ xp.astype(left, whole.dtype)
    return values, qr(product)[0]


def _by_products(T: Rows, k: int, keep: int) -> tuple[Array, Array]:
    xp = array_namespace(T.F)

    def apply(X: Array) -> Array:
        return xp.astype(T.apply(X), xp.float64)

    where, d = device_of(T.F), T.shape[1]
    nothing = xp.zeros((d, 0), dtype=xp.float64, device=where)
    start = starting_block(nothing, k + OVERSAMPLING)
    return leading_eigenpairs(
        apply, start, k, tolerance=_tolerance(T), keep=keep
    )


def _tolerance(T: Rows) -> float:
    xp = array_namespace(T.F)
    return 1e-6 if T.F.dtype == xp.float32 else 1e-12
