"""How far halves of a population lie apart, by how many members they have."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

from spectra.linalg.solvers import eigh, eigvalsh
from spectra.statistics.model_axis.resampling import Order, Places
from spectra.statistics.vectors import Matrix, Vector

__all__ = ["FEWEST_FOR_SLOPE", "Convergence", "converge", "root"]

_FEWEST_IN_PART = 4

FEWEST_FOR_SLOPE = 8 * _FEWEST_IN_PART
"""Groups whose halves, halved twice more, give three sizes."""

_MANY = 64
"""From so many dimensions one eigenvalue is faster than all."""

_TOLERANCE = 1e-6


def root(K: Matrix, /) -> Matrix:
    """Return coordinates of the members, with K as their inner products."""
    eigenvalues, vectors = eigh(K)
    # Ascending; the first is the zero that centring makes.
    lengths = np.sqrt(np.maximum(0.0, eigenvalues[1:]))
    coordinates: Matrix = vectors[:, 1:] * lengths
    return coordinates


def _distance(coordinates: Matrix, a: Places, b: Places) -> float:
    """Return ||S_a - S_b||, S = (1/n) sum (x - m)(x - m)^T, as an operator."""
    rows = np.concatenate([
        (coordinates[places] - coordinates[places].mean(axis=0))
        / np.sqrt(len(places))
        for places in (a, b)
    ])  # fmt: skip
    return _norm(rows, np.repeat([1.0, -1.0], [len(a), len(b)]))


def _norm(rows: Matrix, signs: Vector) -> float:
    """Return the norm of rows^T diag(signs) rows."""
    size = rows.shape[1]
    if size > _MANY:
        difference = LinearOperator(
            (size, size), lambda x: rows.T @ (signs * (rows @ x)), dtype=float
        )
        try:
            (farthest,), v = eigsh(
                difference, 1, which="LM", tol=_TOLERANCE, v0=np.ones(size)
            )
            x = v[:, 0]
            off = float(np.linalg.norm(difference @ x - farthest * x))
        except ArpackError:
            off = farthest = np.nan
        if off <= 10 * _TOLERANCE * abs(farthest):
            return float(abs(farthest))
    eigenvalues = eigvalsh((rows.T * signs) @ rows)
    return float(np.abs(eigenvalues[[0, -1]]).max())


@dataclass(frozen=True, slots=True)
class Convergence:
    """How far apart two parts of n members each lie, by n.

    Attributes
    ----------
    distance
        ||S_a - S_b|| of each pair of parts, (splits, sizes); whole halves
        last.
    norm
        ||S|| of all members.
    slope
        Of log mean distance over log n; None for fewer than three n.
    """

    n: Vector
    distance: Matrix
    norm: float
    slope: float | None


def converge(
    coordinates: Matrix, splits: Sequence[tuple[Order, Order]], /
) -> Convergence:
    """Return how far apart nested parts of two halves lie.

    Parameters
    ----------
    coordinates
        One row a member.
    splits
        The groups of either half, in the order in which they are taken.

    Notes
    -----
    Parts are an eighth, a quarter, a half of either half, and all of it. Of
    independent members two parts of n each are n^-1/2 apart where n is well
    above the effective rank tr S / ||S||. Below it the slope comes near -1:
    of orthogonal members each adds n^-1 in a direction of its own.
    """
    fewest = len(splits[0][0])
    shares = [
        share for share in (8, 4, 2, 1)
        if share == 1 or fewest // share >= _FEWEST_IN_PART
    ]  # fmt: skip
    n, apart = np.zeros((2, len(splits), len(shares)))
    for i, halves in enumerate(splits):
        for j, share in enumerate(shares):
            a, b = (
                np.concatenate(half[: len(half) // share]) for half in halves
            )
            n[i, j] = 2 / (1 / len(a) + 1 / len(b))
            apart[i, j] = _distance(coordinates, a, b)
    sizes, means, slope = n.mean(axis=0), apart.mean(axis=0), None
    if len(shares) >= 3 and means.min() > 0:
        slope = float(np.polyfit(np.log(sizes), np.log(means), 1)[0])
    # The last column is the leading direction.
    norm = float(np.mean(coordinates[:, -1] ** 2))
    return Convergence(sizes, apart, norm, slope)
