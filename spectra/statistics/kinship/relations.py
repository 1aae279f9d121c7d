"""What every two members of a population have in common, over all layers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectra.subspaces.result import LayerFit

__all__ = ["Relations", "relate", "rows_of"]

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Relations:
    """Pairwise cosines of M members; NaN where a pair cannot be compared.

    Attributes
    ----------
    weights
        Of the concatenated dense layers that both have, M x M.
    updates
        Of the concatenated low-rank and difference layers.
    start_votes
        For each threshold, the layers in which the raw factors A of both
        have a higher cosine.
    start_layers
        The layers in which both have raw factors, M x M.
    has_layer, has_start
        Whether a member has an analysed layer, and one with raw factors.
    twins
        For each member that equals another in all layers it has, that one.
    energies
        Sum over layers of a member's squared norm.
    """

    weights: Matrix
    updates: Matrix
    start_votes: Mapping[float, NDArray[np.int32]]
    start_layers: NDArray[np.int32]
    has_layer: NDArray[np.bool_]
    has_start: NDArray[np.bool_]
    twins: Mapping[int, int]
    energies: NDArray[np.float64]


def rows_of(layer: LayerFit, /) -> dict[int, int]:
    """Return the row that speaks for each member of the population.

    A member that was dropped as a copy is spoken for by the one kept.
    """
    rows = {member: row for row, member in enumerate(layer.members)}
    copies = {
        copy: rows[kept] for copy, kept in layer.duplicates if kept in rows
    }
    return rows | copies


class _Cosines:
    """Sums of inner products and of energies over layers two members share."""

    def __init__(self, n: int) -> None:
        self.products = np.zeros((n, n))
        self.energies = np.zeros((n, n))

    def add(self, gram: Matrix, where: tuple[Matrix, ...]) -> None:
        self.products[where] += gram
        self.energies[where] += np.diagonal(gram)[:, None]

    def values(self) -> Matrix:
        scale = np.sqrt(self.energies * self.energies.T)
        return _ratio(self.products, scale)


def _ratio(products: Matrix, scale: Matrix) -> Matrix:
    cosines = np.full(products.shape, np.nan)
    np.divide(products, scale, out=cosines, where=scale > 0)
    return cosines


def relate(
    layers: Iterable[LayerFit], n: int, thresholds: Iterable[float], /
) -> Relations:
    """Return how the members of a population are related, in one pass.

    Parameters
    ----------
    layers
        All layers of the fit.
    n
        Members of the population.
    thresholds
        Cosines of raw factors to count layers for.
    """
    weights, updates = _Cosines(n), _Cosines(n)
    votes = {t: np.zeros((n, n), np.int32) for t in thresholds}
    start_layers = np.zeros((n, n), np.int32)
    has_layer, energies = np.zeros(n, bool), np.zeros(n)
    twins: dict[int, set[int]] = {}
    for layer in layers:
        rows = rows_of(layer)
        members, at = np.array(list(rows)), np.array(list(rows.values()))
        where, spoken = np.ix_(members, members), np.ix_(at, at)
        gram = layer.gram[spoken]
        (weights if layer.kind == "dense" else updates).add(gram, where)
        if layer.initial is not None:
            start_layers[where] += 1
            cosines = _start_cosines(layer.initial)[spoken]
            for threshold, count in votes.items():
                count[where] += cosines > threshold
        has_layer[members] = True
        energies[members] += np.maximum(0.0, np.diagonal(gram))
        _keep_twins(twins, layer, rows)
    return Relations(
        weights=weights.values(),
        updates=updates.values(),
        start_votes=votes,
        start_layers=start_layers,
        has_layer=has_layer,
        has_start=np.diagonal(start_layers) > 0,
        twins={copy: min(found) for copy, found in twins.items() if found},
        energies=energies,
    )


def _start_cosines(initial: Matrix) -> Matrix:
    norms = np.sqrt(np.maximum(0.0, np.diagonal(initial)))
    return _ratio(initial, np.outer(norms, norms))


def _keep_twins(
    twins: dict[int, set[int]], layer: LayerFit, rows: Mapping[int, int]
) -> None:
    """Intersect each member's twins with those of one more layer."""
    for member, row in rows.items():
        twin = {layer.members[row]} - {member}
        twins[member] = twins.get(member, twin) & twin
