"""Leading eigenpairs of an operator that is known by its products alone."""

from collections.abc import Callable
from typing import Any

import numpy as np
from array_api_compat import array_namespace
from array_api_compat import device as device_of

from spectra.backend.device import to_host

__all__ = [
    "OVERSAMPLING",
    "krylov_memory",
    "leading_eigenpairs",
    "starting_block",
]

Array = Any

OVERSAMPLING = 16
"""Columns carried along beyond those that are wanted."""

_BLOCKS = 5
"""The space is restarted from its best columns beyond so many blocks."""

_PASSES = 60


def krylov_memory(d: int, k: int, /) -> int:
    """Return the bytes that `leading_eigenpairs` takes for `k` of `d`."""
    columns = _BLOCKS * (k + OVERSAMPLING)
    # The space, its products, both rotated, a block and its product.
    return 8 * d * (4 * columns + 6 * (k + OVERSAMPLING))


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


def leading_eigenpairs(
    apply: Callable[[Array], Array],
    start: Array,
    k: int,
    /,
    *,
    tolerance: float,
) -> tuple[Array, Array]:
    r"""Return the leading eigenvalues and eigenvectors that converged.

    Parameters
    ----------
    apply
        Returns ``C @ X`` in float64 for X (d, m), C symmetric and positive
        semi-definite.
    start
        (d, p) in float64, p > k unless p = d: what the space begins with.
    k
        How many are wanted; fewer come back where not all converged.
    tolerance
        Largest error of an eigenvalue, as a share of the largest.

    Notes
    -----
    Block Krylov space with full orthogonalisation, restarted from its leading
    Ritz vectors (thick restart, Wu and Simon 2000), expanded by the residuals.
    A Ritz value with residual r is off by at most r, and by
    :math:`r^2 / \delta` at a distance :math:`\delta` from the rest of the
    spectrum, for which the first Ritz value beyond the block stands.
    """
    xp = array_namespace(start)
    d, width = start.shape
    V = xp.linalg.qr(start)[0]
    W = apply(V)
    for _ in range(_PASSES):
        values, S = _ritz(V, W)
        U, lead = V @ S, values[:width]
        R = W @ S[:, :width] - U[:, :width] * lead
        settled = _settled(values, to_host(_norms(R)), tolerance)
        room = min(width, d - V.shape[1])
        if settled >= k or room == 0:
            break
        if V.shape[1] + width > _BLOCKS * width:
            V, W = U[:, : 2 * width], W @ S[:, : 2 * width]
        X = _beside(V, R[:, :room])
        V = xp.concat([V, X], axis=1)
        W = xp.concat([W, apply(X)], axis=1)
    k = min(k, settled)
    return values[:k], U[:, :k]


def _ritz(V: Array, W: Array) -> tuple[Array, Array]:
    xp = array_namespace(V)
    H = xp.matrix_transpose(V) @ W
    values, S = xp.linalg.eigh((H + xp.matrix_transpose(H)) / 2)
    return xp.flip(values), xp.flip(S, axis=1)


def _settled(values: Array, residuals: Any, tolerance: float) -> int:
    """Return how many leading Ritz values are as exact as is asked for."""
    theta = to_host(values)
    width = len(residuals)
    beyond = theta[width] if len(theta) > width else theta[width - 1]
    gap = theta[:width] - beyond
    # Without a gap to speak of the residual itself is the bound.
    error = residuals**2 / np.maximum(gap, residuals + np.finfo(float).tiny)
    wrong = np.flatnonzero(error > tolerance * theta[0])
    return int(wrong[0]) if len(wrong) else width


def _norms(R: Array) -> Array:
    xp = array_namespace(R)
    return xp.sqrt(xp.sum(R * R, axis=0))


def _beside(V: Array, X: Array) -> Array:
    """Return orthonormal columns beside V that span X; twice is enough."""
    xp = array_namespace(V, X)
    for _ in range(2):
        X = X - V @ (xp.matrix_transpose(V) @ X)
        X = xp.linalg.qr(X)[0]
    return X
