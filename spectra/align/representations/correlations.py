"""Canonical correlations of representations."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.align.representations.asked import Asked, Order, Score
from spectra.align.representations.linear import cross
from spectra.linalg.solvers import qr, svd, svdvals

__all__ = [
    "SVCCA_DIRECTIONS",
    "Basis",
    "basis",
    "pwcca",
    "scaled_basis",
    "svcca",
]

SVCCA_DIRECTIONS = 10
"""As many as Huh et al. (2024) keep; Raghu et al. (2017) keep variance."""


@dataclass(frozen=True, slots=True)
class Basis:
    """The directions of items that features span, the strongest first.

    Attributes
    ----------
    Q
        (n, rank), of orthonormal columns.
    loadings
        (rank, d): features less their mean are ``Q @ loadings``, rotated.
    """

    Q: NDArray[Any]
    loadings: NDArray[Any]

    @property
    def nbytes(self) -> int:
        """Return the memory it takes."""
        return self.Q.nbytes + self.loadings.nbytes


def basis(X: NDArray[Any], _: Asked, /) -> Basis:
    """Return an orthonormal basis of the columns of centred features."""
    return _spanned(_less_mean(X))


def scaled_basis(X: NDArray[Any], _: Asked, /) -> Basis:
    """Return that of columns of unit length; a constant one counts for none.

    As the released code of Huh et al. (2024) has it. Raghu et al. (2017)
    leave columns as long as they are.
    """
    rounding = np.finfo(X.dtype).eps * len(X) * np.abs(X).max(axis=0)
    X = _less_mean(X)
    lengths = np.sqrt(np.einsum("ij,ij->j", X, X, dtype=np.float64))
    lengths[lengths <= rounding] = np.inf
    return _spanned(X / lengths.astype(X.dtype))


def _less_mean(X: NDArray[Any]) -> NDArray[Any]:
    found: NDArray[Any] = X - X.mean(axis=0, dtype=np.float64).astype(X.dtype)
    return found


def _spanned(X: NDArray[Any]) -> Basis:
    Q, R = qr(X)
    U, s, Vh = svd(R)
    floor = np.finfo(X.dtype).eps * max(X.shape) * s[0]
    rank = int(np.count_nonzero(s > floor))
    return Basis(Q @ U[:, :rank], s[:rank, None] * Vh[:rank])


def svcca(a: Basis, b: Basis, /) -> Score:
    """Return the mean canonical correlation of the ten strongest directions.

    Of each fewer, where it has fewer.
    """
    x, y = (each.Q[:, :SVCCA_DIRECTIONS] for each in (a, b))

    def score(order: Order) -> float:
        return float(np.minimum(svdvals(cross(x, y, order)), 1).mean())

    return score


def pwcca(a: Basis, b: Basis, /) -> Score:
    """Return the canonical correlations, weighted by what they are to a.

    The weight of a canonical variate of a is the sum of the sizes of its
    inner products with a's columns (Morcos et al. 2018).
    """

    def score(order: Order) -> float:
        U, correlations, _ = svd(cross(a.Q, b.Q, order))
        weights = np.abs(U.T @ a.loadings).sum(axis=1)
        found = np.minimum(correlations, 1) @ weights
        return float(found / weights.sum())

    return score
