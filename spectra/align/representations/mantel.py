"""Whether two numbers of the same pairs of models go together.

The test of Mantel (1967): Pearson's r over pairs, beside those with the
models of one side in another order.
"""

import numpy as np
from numpy.typing import NDArray

from spectra.align.representations.relabelled import (
    Orders,
    Relabelled,
    relabelled,
)

__all__ = ["mantel"]

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]


def mantel(A: Matrix, B: Matrix, rng: np.random.Generator, /) -> Relabelled:
    """Return Pearson's r of the pairs of A and B, and of B's other orders.

    Parameters
    ----------
    A, B
        (n, n), symmetric; their diagonals are not looked at.
    rng
        Draws orders, where there are too many for all of them.
    """
    i, j = np.triu_indices(len(A), 1)
    a, b = _standard(A[i, j]), _standard(B[i, j])
    pairs = np.zeros_like(B)
    pairs[i, j] = pairs[j, i] = b

    def of(orders: Orders) -> Vector:
        r: Vector = pairs[orders[:, i], orders[:, j]] @ a
        return r

    return relabelled(of, len(A), rng, size=len(a))


def _standard(x: Vector) -> Vector:
    """Return numbers of mean 0 and length 1; NaN where all are equal."""
    if np.ptp(x) == 0:
        return np.full_like(x, np.nan)
    away = x - x.mean()
    found: Vector = away / np.linalg.norm(away)
    return found
