"""Relative representations: items by their cosines with a few of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.align.representations.asked import Asked, Order, Score
from spectra.align.representations.neighbours import unit_rows
from spectra.statistics.streams import generator

__all__ = ["ANCHORS", "Directions", "directions", "relative"]

ANCHORS = 256
"""Items that the others are held against; at most half of all."""

_BLOCK = 2**14


@dataclass(frozen=True, slots=True)
class Directions:
    """Features as rows of unit length, and which items are anchors.

    Attributes
    ----------
    U
        (n, d).
    anchors, others
        Places of items; drawn by the seed.
    """

    U: NDArray[Any]
    anchors: Order
    others: Order

    @property
    def nbytes(self) -> int:
        """Return the memory it takes."""
        return self.U.nbytes + self.anchors.nbytes + self.others.nbytes


def directions(X: NDArray[Any], asked: Asked, /) -> Directions:
    """Return features as directions, with anchors drawn among the items."""
    n = len(X)
    drawn = generator(asked.seed, "anchors").permutation(n)
    many = min(ANCHORS, n // 2)
    return Directions(unit_rows(X), drawn[:many], np.sort(drawn[many:]))


def relative(a: Directions, b: Directions, /) -> Score:
    """Return the mean cosine of relative representations.

    An item's relative representation has its cosines with the anchors, the
    same items in a and in b. Anchors themselves are not counted.
    """

    def score(order: Order) -> float:
        total = 0.0
        for start in range(0, len(a.others), _BLOCK):
            some = a.others[start : start + _BLOCK]
            x = a.U[some] @ a.U[a.anchors].T
            y = b.U[order[some]] @ b.U[order[a.anchors]].T
            cosines = np.einsum("ij,ij->i", unit_rows(x), unit_rows(y))
            total += float(cosines.sum(dtype=np.float64))
        return total / len(a.others)

    return score
