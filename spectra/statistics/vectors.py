"""A layer's members as deviations from their mean, known by inner products.

Members stand in the order of their ids, so that draws and resamples do not
depend on the order in which a population was listed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from spectra.linalg.solvers import eigvalsh
from spectra.subspaces.result import LayerFit

__all__ = ["Deviations", "centred", "deviation_norms", "deviations"]

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Deviations:
    r"""What the measures of the model axis are made from.

    Attributes
    ----------
    members
        Indices into the population, in the order of their ids.
    K
        N x N inner products of the deviations from the mean.
    eigenvalues
        The N - 1 eigenvalues of `K` that centring leaves, largest first.
    floor
        In the same unit: eigenvalues below it are noise of storage or of
        arithmetic.
    squared_norms
        :math:`d_i^2`, free of the common part; None where N < 3.
    energies
        :math:`\|x_i\|^2`, the common part included.
    mean_fraction
        Share of the energies that lies in the mean; None without energy.
    size
        D, the number of entries of a map.
    """

    members: tuple[int, ...]
    K: Matrix
    eigenvalues: Vector
    floor: float
    squared_norms: Vector | None
    energies: Vector
    mean_fraction: float | None
    size: int

    @property
    def n(self) -> int:
        """Return the number of members."""
        return len(self.members)

    @property
    def energy(self) -> float:
        """Return the sum of the squared deviations."""
        return float(np.trace(self.K))

    @property
    def is_resolved(self) -> bool:
        """Return whether any deviation stands above the floor."""
        return bool(self.eigenvalues[0] > self.floor)

    def subset(self, places: Sequence[int], /) -> "Deviations":
        """Return some of the members, as deviations from their own mean.

        The floor stays: it is a property of storage and arithmetic.
        """
        K = centred(self.K[np.ix_(places, places)])
        return replace(
            self,
            members=tuple(self.members[i] for i in places),
            K=K,
            eigenvalues=_spectrum(K),
            squared_norms=deviation_norms(K),
            energies=self.energies[list(places)],
        )


def centred(inner: Matrix, /) -> Matrix:
    """Return J inner J: the inner products after the mean is taken away."""
    rows = inner.mean(axis=0)
    K: Matrix = inner - rows[:, None] - rows[None, :] + rows.mean()
    return (K + K.T) / 2


def deviation_norms(K: Matrix, /) -> Vector | None:
    r"""Return :math:`d_i^2`, or None for fewer than three members.

    Notes
    -----
    For mutually orthogonal updates around any common part this is each
    update's own squared norm: :math:`K_{ii} = d_i^2 (1 - 2/N) + S/N^2` with
    :math:`S = \sum_i d_i^2 = \operatorname{tr} K / (1 - 1/N)`.
    """
    n = len(K)
    if n < 3:
        return None
    total = np.trace(K) / (1 - 1 / n)
    squares: Vector = (np.diagonal(K) - total / n**2) / (1 - 2 / n)
    return np.maximum(0.0, squares)


def deviations(layer: LayerFit, ids: Sequence[str], /) -> Deviations:
    """Return the layer's members in the order of their ids.

    Parameters
    ----------
    layer
        One layer of a fit.
    ids
        The ids of the population, to which its members are indices.
    """
    order = sorted(
        range(len(layer.members)), key=lambda i: ids[layer.members[i]]
    )
    size = layer.shape[0] * layer.shape[1]
    # The y_i keep the digits of small deviations; the x_i's Gram does not.
    K = centred(layer.inner[np.ix_(order, order)])
    eigenvalues = _spectrum(K)
    gram = layer.gram
    return Deviations(
        members=tuple(layer.members[i] for i in order),
        K=K,
        eigenvalues=eigenvalues,
        floor=_floor(eigenvalues[0], layer.rounding, layer.resolution, size),
        squared_norms=deviation_norms(K),
        energies=np.maximum(0.0, np.diagonal(gram))[order],
        mean_fraction=_mean_fraction(gram),
        size=size,
    )


def _spectrum(K: Matrix) -> Vector:
    # Ascending; the first is the zero that centring makes.
    eigenvalues: Vector = np.maximum(0.0, eigvalsh(K)[:0:-1])
    return eigenvalues


def _floor(
    largest: float, rounding: Vector, resolution: float, size: int
) -> float:
    # Rounding errors are N random vectors in D dimensions: their largest
    # eigenvalue lies at the edge of the Marchenko-Pastur law.
    edge = (1 + np.sqrt(len(rounding) / size)) ** 2
    return float(max(resolution * largest, edge * rounding.mean()))


def _mean_fraction(gram: Matrix) -> float | None:
    total = float(np.trace(gram))
    return float(gram.sum()) / (len(gram) * total) if total > 0 else None
