"""The joint subspace of a layer, as combinations of its members."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectra.linalg.gram import double_centred
from spectra.linalg.solvers import eigh
from spectra.subspaces.result import LayerFit

__all__ = ["Subspace", "joint_subspace"]

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Subspace:
    r"""The first k directions that N members of a layer vary in.

    Direction l is :math:`v_l = \sum_i c_{il} x_i`, of unit norm and orthogonal
    to the others; the columns of c sum to zero, so that the mean (the average
    of the members) is not part of it.

    Attributes
    ----------
    members
        Indices of the members in the population.
    eigenvalues
        k energies, largest first.
    coefficients
        c, (N, k).
    coordinates
        (N, k): :math:`\langle v_l, x_i - \bar x\rangle`.
    """

    layer: str
    shape: tuple[int, int]
    members: tuple[int, ...]
    eigenvalues: Float
    coefficients: Float
    coordinates: Float

    def __repr__(self) -> str:
        """Return one line."""
        n, k = self.coefficients.shape
        return f"Subspace({self.layer!r}, k={k}, members={n})"


def joint_subspace(layer: LayerFit, k: int, /) -> Subspace:
    """Return the joint subspace of the model axis.

    Parameters
    ----------
    layer
        A fitted layer.
    k
        Directions wanted; fewer are returned where the others are below the
        resolution of the arithmetic.
    """
    values, vectors = eigh(double_centred(layer.inner))
    values, vectors = values[::-1], vectors[:, ::-1]
    above = int(np.count_nonzero(values > layer.resolution * values[0]))
    k = min(k, above, len(layer.members) - 1)
    scale = np.sqrt(values[:k])
    # The sign of an eigenvector is the solver's whim: fix it.
    signs = np.sign(
        vectors[np.abs(vectors).argmax(axis=0), range(len(values))]
    )
    vectors = (vectors * signs)[:, :k]
    return Subspace(
        layer=layer.name,
        shape=layer.shape,
        members=layer.members,
        eigenvalues=values[:k].copy(),
        coefficients=vectors / scale,
        coordinates=vectors * scale,
    )
