"""Singular triplets of small matrices, beside each other."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectra.linalg.solvers import svd

__all__ = ["Triplets", "triplets"]

Matrix = NDArray[np.float64]

_ROUNDING = 1e-12
"""Of the largest: singular values no greater are zero."""


@dataclass(frozen=True, slots=True)
class Triplets:
    """Singular triplets: U (p, k), s (k) and V (q, k)."""

    U: Matrix
    s: Matrix
    V: Matrix

    @classmethod
    def of_all(cls, parts: Iterable["Triplets"], /) -> "Triplets":
        """Return those of several matrices beside each other."""
        parts = tuple(parts)
        return cls(
            np.concatenate([part.U for part in parts], axis=1),
            np.concatenate([part.s for part in parts]),
            np.concatenate([part.V for part in parts], axis=1),
        )

    @property
    def left(self) -> Matrix:
        """Return U times s, (p, k)."""
        left: Matrix = self.U * self.s
        return left

    def product(self) -> Matrix:
        """Return the matrix (p, q) that they make up."""
        product: Matrix = self.left @ self.V.T
        return product

    def leading(
        self, keep: int | None = None, /, *, scale: float = 0.0
    ) -> "Triplets":
        """Return the first, without those of zero.

        Parameters
        ----------
        keep
            At most so many; None for all.
        scale
            The norm of what the matrix was subtracted from, if of anything:
            against that or against its largest singular value the others are
            zero.
        """
        largest = self.s[0] if len(self.s) else 0.0
        k = int(np.count_nonzero(self.s > _ROUNDING * max(largest, scale)))
        k = k if keep is None else min(k, keep)
        return Triplets(self.U[:, :k], self.s[:k], self.V[:, :k])


def triplets(
    M: Matrix, keep: int | None = None, /, *, scale: float = 0.0
) -> Triplets:
    """Return the triplets of a matrix, largest first, without those of zero.

    Parameters
    ----------
    M
        (p, q).
    keep, scale
        As of `Triplets.leading`.
    """
    if 0 in M.shape:
        return Triplets(M[:, :0], np.zeros(0), M[:0].T)
    U, s, Vh = svd(M)
    return Triplets(U, s, Vh.T).leading(keep, scale=scale)
