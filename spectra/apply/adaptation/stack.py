r"""The updates of a layer's members, as one pair of factors.

With the A of all members under each other and their s B side by side,
:math:`\sum_i w_i s_i B_i A_i = B\,\mathrm{diag}(w)\,A`, each member's weight
standing once for each of its ranks. No matrix of the layer's size is formed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectra.linalg.solvers import qr
from spectra.subspaces.recipes.table import Factors

__all__ = ["Stack", "stacked"]

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Stack:
    """N updates of one layer, of ranks that add up to R.

    Attributes
    ----------
    A
        (R, in).
    B
        (out, R), scales included.
    owner
        R numbers below N: whose each is, ascending.
    """

    A: Matrix
    B: Matrix
    owner: NDArray[np.int64]

    @property
    def n(self) -> int:
        """Return how many members there are."""
        return int(self.owner[-1]) + 1

    def mean(self) -> Factors:
        """Return the average of the members."""
        return Factors(self.A, self.B, 1 / self.n)

    def inner(self, update: Factors, /) -> Vector:
        """Return the N inner products of the members with an update."""
        left = self.B.T @ (update.scale * update.B)
        shares = np.sum(left * (self.A @ update.A.T), axis=1)
        return np.asarray(np.bincount(self.owner, shares, self.n), np.float64)

    def turned(self, rng: np.random.Generator, /) -> "Stack":
        r"""Return the members in a random position.

        Notes
        -----
        Each is :math:`P x_i Q` with one pair of random rotations for all of
        them, so that norms, singular values and inner products stay, and
        those of all their combinations: lost is where they lie in the model.
        Of a rotation only what it does to the members' span is drawn.
        """
        return Stack(
            _rotated(self.A.T, rng).T, _rotated(self.B, rng), self.owner
        )


def stacked(updates: Sequence[Factors], /) -> Stack:
    """Return updates of one shape, of any ranks, as one pair of factors."""
    return Stack(
        np.concatenate([np.asarray(x.A, np.float64) for x in updates]),
        np.concatenate(
            [x.scale * np.asarray(x.B, np.float64) for x in updates], axis=1
        ),
        np.repeat(np.arange(len(updates)), [x.rank for x in updates]),
    )


def _rotated(F: Matrix, rng: np.random.Generator) -> Matrix:
    """Return P F with a random rotation P.

    The frame of F's columns goes to one of the Haar measure: Q of a Gaussian
    matrix, with the signs that make R's diagonal positive.
    """
    Q, upper = qr(F)
    frame, R = qr(rng.standard_normal(Q.shape))
    rotated: Matrix = (frame * np.sign(np.diagonal(R))) @ upper
    return rotated
