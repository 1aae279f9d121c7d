"""The sum of any number of updates, from their factors beside each other."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from spectra.apply.merging.framed import Framed
from spectra.linalg.solvers import qr
from spectra.subspaces.recipes.table import Factors

__all__ = ["Stacked"]

Matrix = NDArray[np.float64]


class Stacked:
    r"""N updates of one layer as one product of their factors.

    :math:`\sum_i c_i s_i B_i A_i = [c_1 s_1 B_1 \dots] [A_1; \dots]`: N r (out
    + in) numbers, where the cores of a `CoreSpace` are none too, but its
    frames take several decompositions of as many columns. For linear merges.
    """

    def __init__(self, updates: Sequence[Factors], /) -> None:
        """Keep the factors as they are."""
        self._updates = tuple(updates)

    def __len__(self) -> int:
        """Return N."""
        return len(self._updates)

    def combined(self, weights: Matrix, /) -> Framed:
        """Return the sum of the updates with weights (N)."""
        pairs = list(zip(weights, self._updates, strict=True))
        U, left = _framed(c * x.scale * _wide(x.B) for c, x in pairs)
        V, right = _framed(_wide(x.A).T for _, x in pairs)
        return Framed(U, left @ right.T, V)


def _wide(factor: Matrix) -> Matrix:
    return np.asarray(factor, np.float64)


def _framed(columns: Iterator[Matrix]) -> tuple[Matrix | None, Matrix]:
    """Return a frame of some columns, and them in it.

    Columns that are no fewer than their entries need none.
    """
    beside = np.concatenate(list(columns), axis=1)
    if beside.shape[1] >= beside.shape[0]:
        return None, beside
    Q, R = qr(beside)
    return Q, R
