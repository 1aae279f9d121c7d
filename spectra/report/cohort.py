"""Checkpoints beside one another, over all layers: cosines and a plane."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spectra.linalg.solvers import eigh
from spectra.report.pairs import MEASURES
from spectra.subspaces.result import LayerFit

__all__ = ["Cohort", "Plane", "plane"]

Matrix = NDArray[np.float64]


class Plane(NamedTuple):
    """Places in two dimensions, NaN for what has none.

    Attributes
    ----------
    places
        N x 2.
    share
        What the two axes hold of the squared distances.
    chance
        What they would hold of members at equal distances.
    """

    places: Matrix
    share: tuple[float, float]
    chance: float


class Cohort:
    """Sums of cosines, to which one layer after the other is added.

    Attributes
    ----------
    to_others
        A row a layer: each member's mean cosine with the others, NaN for
        who is no member.
    """

    def __init__(self, n_models: int, n_layers: int) -> None:
        self.to_others = np.full((n_layers, n_models), np.nan)
        self._sum = np.zeros((n_models, n_models))
        self._count = np.zeros((n_models, n_models))

    def add(self, index: int, layer: LayerFit, /) -> None:
        """Add one layer, the report's `index`-th."""
        cosines = MEASURES[0].matrix(layer).copy()
        np.fill_diagonal(cosines, np.nan)
        known = np.isfinite(cosines)
        cosines[~known] = 0.0
        members = np.array(layer.members)
        where = np.ix_(members, members)
        self._sum[where] += cosines
        self._count[where] += known
        n_known = known.sum(1)
        mean = np.full(len(members), np.nan)
        np.divide(cosines.sum(1), n_known, out=mean, where=n_known > 0)
        self.to_others[index, members] = mean

    def mean(self) -> Matrix:
        """Return mean cosines over layers, NaN of who has no layer shared."""
        mean = np.full(self._sum.shape, np.nan)
        np.divide(self._sum, self._count, out=mean, where=self._count > 0)
        return mean


def plane(cosines: Matrix, /) -> Plane | None:
    """Return where members lie by classical scaling of their cosines.

    Squared distances are 2 - 2 cosine; of a pair without a cosine 2, as of
    unrelated updates. None of fewer than three members.

    References
    ----------
    Torgerson 1952, "Multidimensional scaling: I. Theory and method."
    """
    taking_part = np.isfinite(cosines).any(axis=1)
    n = int(taking_part.sum())
    if n < 3:
        return None
    inner = np.nan_to_num(cosines[np.ix_(taking_part, taking_part)], nan=0.0)
    np.fill_diagonal(inner, 1.0)
    inner -= inner.mean(0)
    inner -= inner.mean(1)[:, None]
    values, vectors = eigh(inner)
    values, vectors = np.asarray(values)[::-1], np.asarray(vectors)[:, ::-1]
    positive = np.clip(values, 0.0, None)
    total = float(positive.sum())
    if not total > n * np.finfo(float).eps:
        return None
    axes = vectors[:, :2] * np.sqrt(positive[:2])
    # The sign is nobody's: the entry that is largest is positive.
    largest = axes[np.abs(axes).argmax(0), [0, 1]]
    places = np.full((len(cosines), 2), np.nan)
    places[taking_part] = axes * np.where(largest < 0, -1.0, 1.0)
    share = (float(positive[0]) / total, float(positive[1]) / total)
    return Plane(places, share, 2 / (n - 1))
