"""Updates of one layer as the factors that joint diagonalisation works on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectra.apply.merging.core_space import CoreSpace

__all__ = ["Small", "small"]

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Small:
    r"""N updates as :math:`P_i Z_i^T`, in the coordinates of a core space.

    Attributes
    ----------
    P
        (N, p, r), columns orthogonal, zero beyond an update's own rank.
    Z
        (N, q, r), columns orthonormal or zero.
    norms
        What the updates were divided by, (N).
    """

    P: Matrix
    Z: Matrix
    norms: Matrix

    def __len__(self) -> int:
        """Return N."""
        return len(self.norms)

    @property
    def rank(self) -> int:
        """Return what the ranks of all updates add up to."""
        return int(np.count_nonzero(np.any(self.Z != 0, axis=1)))

    @property
    def moved(self) -> NDArray[np.bool_]:
        """Return which updates are not 0."""
        moved: NDArray[np.bool_] = np.any(self.Z != 0, axis=(1, 2))
        return moved

    @property
    def energy(self) -> float:
        """Return the sum of all squared norms."""
        return float(np.sum(self.P**2))

    def of(self, which: Sequence[int] | NDArray[np.intp], /) -> "Small":
        """Return some of them, by index."""
        return Small(self.P[which], self.Z[which], self.norms[which])


def small(space: CoreSpace, /, *, unit: bool = True) -> Small:
    """Return the updates of a core space.

    Parameters
    ----------
    space
        The updates.
    unit
        Whether each is divided by its norm; one of 0 stays 0.
    """
    p, q = space.size
    n = len(space)
    r = max(1, *(len(part.s) for part in space.parts))
    P, Z, norms = np.zeros((n, p, r)), np.zeros((n, q, r)), np.ones(n)
    for i, part in enumerate(space.parts):
        if not part.s.any():
            continue
        if unit:
            norms[i] = np.linalg.norm(part.s)
        P[i, :, : len(part.s)] = part.left / norms[i]
        Z[i, :, : len(part.s)] = part.V
    return Small(P, Z, norms)
