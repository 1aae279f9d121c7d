"""Metrics of linear kernels, from covariances and cross-covariances."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.align.representations.asked import Asked, Order, Score
from spectra.linalg.solvers import qr, svdvals

__all__ = ["Centred", "centred", "cka", "cka_debiased", "cross", "procrustes"]

Array = NDArray[Any]

_BLOCK = 4096
"""Rows whose products are summed in the features' own precision."""


@dataclass(frozen=True, slots=True)
class Centred:
    """Features less their mean, in as few coordinates as hold them.

    Attributes
    ----------
    X
        (n, d), d at most n.
    squares
        Squared length of each row: the kernel's diagonal.
    power
        The sum of the kernel's squared entries.
    """

    X: Array
    squares: NDArray[np.float64]
    power: float

    @property
    def nbytes(self) -> int:
        """Return the memory it takes."""
        return self.X.nbytes + self.squares.nbytes


def centred(X: Array, _: Asked, /) -> Centred:
    """Return features less their mean; of more columns than rows, rotated."""
    X = X - X.mean(axis=0, dtype=np.float64).astype(X.dtype)
    if X.shape[1] > len(X):
        X = np.ascontiguousarray(qr(X.T)[1].T)
    squares = np.einsum("ij,ij->i", X, X, dtype=np.float64)
    here = np.arange(len(X))
    return Centred(X, squares, float((cross(X, X, here) ** 2).sum()))


def cka(a: Centred, b: Centred, /) -> Score:
    """Return the centred alignment of the kernels X X^T and Y Y^T.

    From ``norm(X^T Y)**2`` (Kornblith et al. 2019): no kernel is formed.
    """
    scale = np.sqrt(a.power * b.power)

    def score(order: Order) -> float:
        return float((cross(a.X, b.X, order) ** 2).sum() / scale)

    return score


def cka_debiased(a: Centred, b: Centred, /) -> Score:
    """Return that alignment by estimates without bias (Song et al. 2012).

    About 0 where features are independent, however many there are.
    """
    own = [
        _without_bias(each.power, each.squares, each.squares)
        for each in (a, b)
    ]
    scale = np.sqrt(own[0] * own[1])

    def score(order: Order) -> float:
        power = float((cross(a.X, b.X, order) ** 2).sum())
        found = _without_bias(power, a.squares, b.squares[order])
        return float(found / scale)

    return score


def procrustes(a: Centred, b: Centred, /) -> Score:
    """Return the inner product of a with b turned towards it, both of norm 1.

    The sum of the singular values of ``X^T Y``, over both norms.
    """
    scale = np.sqrt(a.squares.sum() * b.squares.sum())

    def score(order: Order) -> float:
        return float(svdvals(cross(a.X, b.X, order)).sum() / scale)

    return score


def cross(X: Array, Y: Array, order: Order, /) -> NDArray[np.float64]:
    """Return ``X^T Y[order]``, summed in double precision block by block."""
    found = np.zeros((X.shape[1], Y.shape[1]))
    for start in range(0, len(X), _BLOCK):
        rows = slice(start, start + _BLOCK)
        found += X[rows].T @ Y[order[rows]]
    return found


def _without_bias(power: float, a: Array, b: Array) -> float:
    """Return n (n - 3) times the estimate; kernels are centred.

    Their rows sum to 0, so that without the diagonal they sum to its
    negative.
    """
    n = len(a)
    return float(
        power - (a @ b) * n / (n - 2) + a.sum() * b.sum() / ((n - 1) * (n - 2))
    )
