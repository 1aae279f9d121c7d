r"""The way that a layer's weights take: lengths and angles of its steps.

With checkpoints :math:`W_1 \ldots W_T` in order, the increments are
:math:`\Delta_t = W_{t+1} - W_t`. All of it is differences of inner products.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectra.statistics.vectors import centred, deviations
from spectra.subspaces.result import LayerFit

__all__ = ["Path", "path_of"]

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Path:
    r"""T checkpoints of one layer.

    Attributes
    ----------
    products
        T - 1 x T - 1: :math:`\langle\Delta_s, \Delta_t\rangle`.
    distances
        T x T: :math:`\|W_s - W_t\|`, 0 between the same bytes, NaN where it
        is below `floor`.
    norm
        :math:`\|W_T\|`.
    floor
        Distances below it are noise of storage or of arithmetic.
    """

    products: Matrix
    distances: Matrix
    norm: float
    floor: float

    @property
    def steps(self) -> Vector:
        r"""Return T - 1 lengths :math:`\|\Delta_t\|`."""
        return np.asarray(np.diagonal(self.distances, 1))

    @property
    def net(self) -> float:
        r"""Return :math:`\|W_T - W_1\|`."""
        return float(self.distances[0, -1])

    @property
    def shares(self) -> Vector:
        r"""Return T - 1 shares of the net displacement; they sum to 1.

        :math:`\langle\Delta_t, W_T - W_1\rangle / \|W_T - W_1\|^2`; NaN where
        the last checkpoint is the first.
        """
        along = self.products.sum(axis=1)
        return np.asarray(along / (self.net**2 or np.nan))

    @property
    def moving(self) -> NDArray[np.int64]:
        """Return the places of the increments that have a direction."""
        return np.flatnonzero(self.steps > 0)

    @property
    def cosines(self) -> Matrix:
        """Return T - 1 x T - 1 cosines of increments, NaN without one."""
        steps = self.steps
        lengths = np.where(steps > 0, steps, np.nan)
        cosines = self.products / np.outer(lengths, lengths)
        return np.asarray(np.clip(cosines, -1.0, 1.0))


def path_of(
    layer: LayerFit, rows: Sequence[int], ids: Sequence[str], /
) -> Path:
    """Return the path of a layer's checkpoints.

    Parameters
    ----------
    layer
        One layer of a fit.
    rows
        The layer's row of each checkpoint, in their order; equal rows are
        equal bytes.
    ids
        Of the population.

    Notes
    -----
    The floor of an eigenvalue is what noise may have along any unit vector of
    coefficients; a difference of two members has squared length 2.
    """
    place, K = np.array(rows), centred(layer.inner)
    squares = np.diagonal(K)[:, None] + np.diagonal(K)[None, :] - 2 * K
    floor = 2 * deviations(layer, ids).floor
    same = place[:, None] == place[None, :]
    squares = np.where(same, 0.0, squares[np.ix_(place, place)])
    squares[~same & (squares <= floor)] = np.nan
    K = K[np.ix_(place, place)]
    return Path(
        products=np.diff(np.diff(K, axis=0), axis=1),
        distances=np.sqrt(squares),
        norm=float(np.sqrt(max(0.0, layer.gram[place[-1], place[-1]]))),
        floor=float(np.sqrt(floor)),
    )
