"""Representational similarity analysis: distances put in order."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from spectra.align.representations.asked import Asked, Order, Score
from spectra.align.representations.neighbours import unit_rows

__all__ = ["Ranks", "ranks", "rsa"]


@dataclass(frozen=True, slots=True)
class Ranks:
    """The ranks of all distances, of mean 0 and norm 1 as a matrix (n, n).

    Attributes
    ----------
    matrix
        Symmetric, of zero diagonal.
    """

    matrix: NDArray[np.float32]

    @property
    def nbytes(self) -> int:
        """Return the memory it takes."""
        return self.matrix.nbytes


def ranks(X: NDArray[Any], _: Asked, /) -> Ranks:
    """Return the ranks of distances, 1 less Pearson's r of two rows of X.

    The whole matrix (n, n) is held: this is for thousands of items.
    """
    n = len(X)
    wide = X.astype(np.float64)
    U = unit_rows(wide - wide.mean(axis=1, keepdims=True))
    above = np.triu_indices(n, 1)
    found = rankdata(-(U @ U.T)[above])
    found -= found.mean()
    found /= np.sqrt(2 * (found @ found))
    matrix = np.zeros((n, n), np.float32)
    matrix[above] = found
    return Ranks(matrix + matrix.T)


def rsa(a: Ranks, b: Ranks, /) -> Score:
    """Return Spearman's correlation of the distances of all pairs."""

    def score(order: Order) -> float:
        by_row = np.einsum("ij,ij->i", a.matrix, b.matrix[order][:, order])
        return float(by_row.sum(dtype=np.float64))

    return score
