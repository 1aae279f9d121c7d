"""What the spectrum of the deviations says, and what it would say by chance.

Every function of levels returns an array over them, NaN where a level has no
value: more directions than N members leave after centring.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spectra.linalg.solvers import eigvalsh
from spectra.statistics.vectors import Deviations, centred

__all__ = [
    "evr",
    "expected_isotropic",
    "expected_norms",
    "expected_unit_norm",
    "explained",
    "participation_ratio",
    "unit_norm_evr",
]

Vector = NDArray[np.float64]
Levels = Sequence[int]


def explained(
    eigenvalues: Vector, levels: Levels, /, *, total: float
) -> Vector:
    """Return the shares of `total` that the leading eigenvalues hold.

    Parameters
    ----------
    eigenvalues
        Largest first.
    levels
        How many of them.
    total
        The exact trace.
    """
    shares = np.full(len(levels), np.nan)
    if total > 0:
        sums = np.cumsum(eigenvalues)
        for place, k in enumerate(levels):
            if k <= len(sums):
                shares[place] = min(1.0, sums[k - 1] / total)
    return shares


def _explained_of(K: NDArray[np.float64], levels: Levels) -> Vector:
    eigenvalues = np.maximum(0.0, eigvalsh(K)[:0:-1])
    return explained(eigenvalues, levels, total=float(np.trace(K)))


def evr(axis: Deviations, levels: Levels, /) -> Vector:
    """Return the explained variance ratios of the deviations."""
    return explained(axis.eigenvalues, levels, total=axis.energy)


def participation_ratio(axis: Deviations, /) -> float | None:
    """Return how many equal directions would be as spread, None for none."""
    squares = float(np.sum(axis.eigenvalues**2))
    total = float(np.sum(axis.eigenvalues))
    return total**2 / squares if squares > 0 else None


def expected_isotropic(n: int, levels: Levels, /) -> Vector:
    """Return the EVR of n equally long, mutually orthogonal deviations."""
    shares = np.array(levels, dtype=float) / (n - 1)
    return np.where(shares <= 1.0, shares, np.nan)


def expected_norms(axis: Deviations, levels: Levels, /) -> Vector:
    """Return the EVR of orthogonal directions with the members' own norms."""
    if axis.squared_norms is None:
        return np.full(len(levels), np.nan)
    return _explained_of(centred(np.diag(axis.squared_norms)), levels)


def unit_norm_evr(axis: Deviations, levels: Levels, /) -> Vector:
    """Return the EVR of deviations scaled to one norm.

    Members whose squared norm is below the floor are left out.

    Notes
    -----
    A deviation is a member's own part less the mean, and the mean outweighs
    the own part of a small member: hold it against `expected_unit_norm`, not
    against k / (N - 1).
    """
    return _unit_norm(axis.K, axis, levels)


def expected_unit_norm(axis: Deviations, levels: Levels, /) -> Vector:
    """Return `unit_norm_evr` for orthogonal directions of the same norms."""
    if axis.squared_norms is None:
        return np.full(len(levels), np.nan)
    return _unit_norm(centred(np.diag(axis.squared_norms)), axis, levels)


def _unit_norm(
    K: NDArray[np.float64], axis: Deviations, levels: Levels
) -> Vector:
    if axis.squared_norms is None:
        return np.full(len(levels), np.nan)
    kept = axis.squared_norms > axis.floor
    if np.count_nonzero(kept) < 3:
        return np.full(len(levels), np.nan)
    lengths = np.sqrt(axis.squared_norms[kept])
    scaled = K[np.ix_(kept, kept)] / np.outer(lengths, lengths)
    return _explained_of(centred(scaled), levels)
