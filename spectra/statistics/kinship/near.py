"""Members that are almost the same, without being copies."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from spectra.statistics.kinship.relations import Relations
from spectra.statistics.plain import number
from spectra.subspaces.result import LayerFit

__all__ = ["COSINE", "DISTANCE", "Distances", "near_duplicates"]

Document = dict[str, Any]
Matrix = NDArray[np.float64]

COSINE: Final = 0.9999
"""Above it two updates are near duplicates."""

DISTANCE: Final = float(np.sqrt(2 * (1 - COSINE)))
"""The distance of two vectors of length one that have that cosine."""

_PAIRS: Final = 100

_WEIGHTS = (
    "whole weights are compared, and a common start alone makes these nearly"
    " equal: --base compares what was learned"
)


@dataclass(slots=True)
class Distances:
    """Squared distances of M members, over the layers that two share.

    Attributes
    ----------
    squares
        M x M sums of ||x_i - x_j||^2.
    energies
        M x M sums of ||x_i||^2 over the same layers.
    """

    n: int
    squares: Matrix = field(init=False)
    energies: Matrix = field(init=False)

    def __post_init__(self) -> None:
        self.squares = np.zeros((self.n, self.n))
        self.energies = np.zeros((self.n, self.n))

    def add(self, layer: LayerFit, rows: Mapping[int, int], /) -> None:
        """Take in one more layer.

        Parameters
        ----------
        layer
            One layer of a fit.
        rows
            The row that speaks for each member.
        """
        members, at = list(rows), list(rows.values())
        where = np.ix_(members, members)
        # The y_i keep the digits of small distances; the x_i do not.
        inner = layer.inner[np.ix_(at, at)]
        own = np.diagonal(inner)
        squares = own[:, None] + own[None, :] - 2 * inner
        self.squares[where] += np.maximum(0.0, squares)
        energy = np.maximum(0.0, np.diagonal(layer.gram)[at])
        self.energies[where] += energy[:, None]

    @property
    def relative(self) -> Matrix:
        """Return M x M distances over the geometric mean of the norms."""
        scale = np.sqrt(self.energies * self.energies.T)
        ratio = np.full(scale.shape, np.nan)
        np.divide(self.squares, scale, out=ratio, where=scale > 0)
        relative: Matrix = np.sqrt(ratio)
        return relative


def near_duplicates(
    relations: Relations,
    updates: Distances,
    weights: Distances,
    ids: tuple[str, ...],
    /,
) -> Document:
    """Return the pairs of members that are almost the same.

    Updates decide between two members that have any in common. Whole weights
    decide between others, by their distance; yet a common start alone makes
    these nearly equal.

    Parameters
    ----------
    relations
        What members have in common.
    updates, weights
        Distances in layers of either kind.
    ids
        Of all members.
    """
    by_update = ~np.isnan(relations.updates)
    near = np.where(
        by_update, relations.updates > COSINE, weights.relative < DISTANCE
    )
    apart = np.where(by_update, updates.relative, weights.relative)
    cosines = np.where(by_update, relations.updates, relations.weights)
    original = np.array([i not in relations.twins for i in range(len(ids))])
    pairs = np.triu(original[:, None] & original[None, :], 1)
    found = [
        {
            **dict(zip("ab", sorted((ids[i], ids[j])), strict=True)),
            "by": "updates" if by_update[i, j] else "weights",
            "cosine": number(cosines[i, j]),
            "distance": number(apart[i, j]),
        }
        for i, j in np.argwhere(pairs & near)
    ]
    found.sort(key=lambda pair: (pair["distance"], pair["a"], pair["b"]))
    whole = weights.relative[pairs & ~by_update]
    whole = whole[~np.isnan(whole)]
    document: Document = {"n": len(found), "pairs": found[:_PAIRS]}
    if whole.size:
        document["median_distance"] = float(np.median(whole))
    if any(pair["by"] == "weights" for pair in found):
        document["reason"] = _WEIGHTS
    return document
