"""Leading eigenpairs of an operator that is known by its products alone."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace
from array_api_compat import device as device_of

from spectra.backend.device import to_host
from spectra.linalg.solvers import eigh, qr

__all__ = [
    "OVERSAMPLING",
    "beside",
    "krylov_memory",
    "leading_eigenpairs",
    "starting_block",
]

Array = Any

OVERSAMPLING = 8
"""Columns carried along beyond those that are wanted."""

_COLUMNS = 800
"""The space is restarted from its best columns where it would get larger."""

_FEWEST_BLOCKS = 5

_GROWTH = 1.2
"""The space grows by so much before it is looked at again: what it holds
costs an eigenproblem of its own."""

_PASSES = 60


def _most_columns(width: int) -> int:
    return max(_COLUMNS, _FEWEST_BLOCKS * width)


def krylov_memory(d: int, k: int, /) -> int:
    """Return the bytes that `leading_eigenpairs` takes for `k` of `d`."""
    width = k + OVERSAMPLING
    columns = min(d, _most_columns(width))
    # The space and its products; then one of them once more while it grows,
    # or the eigenproblem of what the space has.
    held = 8 * d * (2 * columns + 6 * width)
    return held + max(8 * d * columns, 48 * columns**2)


def starting_block(guess: Array, width: int, /, *, seed: int = 0) -> Array:
    """Return `guess` (d, p) with random columns added up to `width`.

    The random ones are drawn by NumPy: the same on every backend.
    """
    xp = array_namespace(guess)
    d, p = guess.shape
    missing = min(width, d) - p
    if missing <= 0:
        return guess[:, :width]
    noise = np.random.default_rng(seed).standard_normal((d, missing))
    columns = xp.asarray(noise, dtype=guess.dtype, device=device_of(guess))
    return xp.concat([guess, columns], axis=1)


@dataclass(slots=True)
class _Space:
    """Orthonormal columns V, their products W = C V, and H = V^T C V."""

    V: Array
    W: Array
    H: Array

    @property
    def columns(self) -> int:
        return int(self.V.shape[1])

    def grow(self, X: Array, Y: Array) -> None:
        """Take in orthonormal columns X beside V, and Y = C X."""
        xp = array_namespace(X)
        self.V = xp.concat([self.V, X], axis=1)
        self.W = xp.concat([self.W, Y], axis=1)
        beside = xp.matrix_transpose(self.V) @ Y
        above = beside[: self.H.shape[0], :]
        left = xp.concat([self.H, xp.matrix_transpose(above)], axis=0)
        self.H = xp.concat([left, beside], axis=1)

    def ritz(self) -> tuple[Array, Array]:
        """Return the eigenpairs of H, largest first."""
        xp = array_namespace(self.H)
        H = (self.H + xp.matrix_transpose(self.H)) / 2
        values, S = eigh(H)
        return xp.flip(values), xp.flip(S, axis=1)

    def shrink(self, values: Array, S: Array) -> None:
        """Keep the Ritz vectors with coordinates S alone."""
        xp = array_namespace(S)
        self.V, self.W = self.V @ S, self.W @ S
        kept = values[: S.shape[1]]
        unit = xp.eye(kept.shape[0], dtype=S.dtype, device=device_of(S))
        self.H = kept[:, None] * unit


def leading_eigenpairs(
    apply: Callable[[Array], Array],
    start: Array,
    k: int,
    /,
    *,
    tolerance: float,
    keep: int | None = None,
) -> tuple[Array, Array]:
    r"""Return the leading eigenvalues that converged, and Ritz vectors.

    Parameters
    ----------
    apply
        Returns ``C @ X`` in float64 for X (d, m), C symmetric and positive
        semi-definite.
    start
        (d, p) in float64, p > k unless p = d: what the space begins with.
    k
        How many are needed; the search ends when they have converged.
    tolerance
        Largest error of an eigenvalue, as a share of the largest.
    keep
        How many are wanted where they come at no further cost, at least k.

    Returns
    -------
    values
        At most `keep`: the leading ones that converged.
    vectors
        (d, keep) leading Ritz vectors, or as many as the space has; those
        beyond the values have not converged.

    Notes
    -----
    Block Lanczos with full orthogonalisation, restarted where the space gets
    large from its leading Ritz vectors (thick restart, Wu and Simon 2000). A
    Ritz value with residual r is off by at most r, and by
    :math:`r^2 / \delta` at a distance :math:`\delta` from the rest of the
    spectrum, for which the first Ritz value beyond the block stands.
    """
    xp = array_namespace(start)
    d, width = start.shape
    keep = max(k, keep or k)
    X = qr(start)[0]
    nothing = xp.zeros((d, 0), dtype=start.dtype, device=device_of(start))
    space = _Space(nothing, nothing, nothing[:0, :])
    look_at = 0.0
    for number in range(1, _PASSES + 1):
        Y = apply(X)
        space.grow(X, Y)
        room = min(width, d - space.columns)
        full = room == 0 or number == _PASSES
        crowded = space.columns + width > _most_columns(width)
        if not (full or crowded or space.columns >= look_at):
            X = beside(space.V, Y[:, :room])
            continue
        look_at = _GROWTH * space.columns
        values, S = space.ritz()
        looked = max(width, min(keep, space.columns))
        R = space.W @ S[:, :looked]
        R = R - (space.V @ S[:, :looked]) * values[:looked]
        settled = _settled(values, to_host(_norms(R)), tolerance)
        if settled >= k or full:
            break
        if crowded:
            space.shrink(values, S[:, : 2 * width])
        X = beside(space.V, R[:, :room])
    return values[: min(keep, settled)], space.V @ S[:, :keep]


def _settled(values: Array, residuals: Any, tolerance: float) -> int:
    """Return how many leading Ritz values are as exact as is asked for."""
    theta = to_host(values)
    looked = len(residuals)
    beyond = theta[looked] if len(theta) > looked else theta[looked - 1]
    gap = theta[:looked] - beyond
    # Without a gap to speak of the residual itself is the bound.
    error = residuals**2 / np.maximum(gap, residuals + np.finfo(float).tiny)
    wrong = np.flatnonzero(error > tolerance * theta[0])
    return int(wrong[0]) if len(wrong) else looked


def _norms(R: Array) -> Array:
    xp = array_namespace(R)
    return xp.sqrt(xp.sum(R * R, axis=0))


def beside(V: Array, X: Array, /) -> Array:
    """Return orthonormal columns beside V that span X; twice is enough.

    Parameters
    ----------
    V
        (d, p), orthonormal.
    X
        (d, q), p + q <= d.
    """
    xp = array_namespace(V, X)
    for _ in range(2):
        X = X - V @ (xp.matrix_transpose(V) @ X)
        X = qr(X)[0]
    return X
