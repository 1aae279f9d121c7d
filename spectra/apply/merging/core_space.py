r"""The small space that holds every update of a layer, without loss.

N updates :math:`s_i B_i A_i` differ from zero only between the span of all
columns of the B and that of all rows of the A. With orthonormal frames U and V
of the two, each is :math:`U M_i V^T` with a core :math:`M_i` of no more rows
than the ranks add up to: Core Space of Panariello et al. (2025). Whatever
depends on singular values and vectors alone is in the cores what it is in the
updates themselves.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spectra.apply.merging.framed import Framed
from spectra.apply.merging.triplets import Triplets
from spectra.linalg.solvers import svd
from spectra.linalg.svd import factored_svd
from spectra.subspaces.recipes.table import Factors

__all__ = ["Axes", "CoreSpace", "core_space"]

Matrix = NDArray[np.float64]

Axes = Literal["factors", "updates"]

_ROUNDING = 1e-14
"""Directions of less than this share are rounding: an update's own singular
values against its largest, and what the updates' frames have in a direction
against what they have in the first. Zero columns of B and a common A come out
of the decompositions below 1e-15; what is left out of an update is then no
more than 1e-14 of it for each direction."""


@dataclass(frozen=True, slots=True)
class CoreSpace:
    r"""N updates of one layer as :math:`U M_i V^T`.

    Attributes
    ----------
    U
        (out, p) with orthonormal columns.
    V
        (in, q) with orthonormal columns.
    parts
        The singular triplets of the M (p, q), which are those of the updates
        between the frames: 8 (p + q) bytes for each of their ranks. p and q
        are at most the sum of the ranks.
    """

    U: Matrix
    V: Matrix
    parts: tuple[Triplets, ...]

    def __len__(self) -> int:
        """Return N."""
        return len(self.parts)

    def __iter__(self) -> Iterator[Matrix]:
        """Yield the M, one at a time."""
        return (part.product() for part in self.parts)

    @property
    def shape(self) -> tuple[int, int]:
        """Return that of the layer, (out, in)."""
        return len(self.U), len(self.V)

    @property
    def size(self) -> tuple[int, int]:
        """Return that of a core, (p, q)."""
        return self.U.shape[1], self.V.shape[1]

    @property
    def cores(self) -> Matrix:
        """Return all M at once, (N, p, q): 8 N p q bytes."""
        return np.stack(list(self))

    def framed(self, core: Matrix, /) -> Framed:
        """Return a core (p, q) as the map that it is."""
        return Framed(self.U, core, self.V)

    def combined(self, weights: Matrix, /) -> Framed:
        """Return the sum of the updates with weights (N)."""
        pairs = zip(weights, self.parts, strict=True)
        left = _side_by_side(w * part.left for w, part in pairs)
        right = _side_by_side(part.V for part in self.parts)
        return self.framed(left @ right.T)

    def lifted(self) -> Matrix:
        """Return all updates themselves, (N, out, in)."""
        return np.stack([self.framed(core).lifted() for core in self])


def core_space(
    updates: Sequence[Factors], /, *, axes: Axes = "factors"
) -> CoreSpace:
    """Return the space of some updates of one layer.

    Parameters
    ----------
    updates
        Of one shape, of any ranks.
    axes
        Along what the frames lie, which entries of the cores depend on and
        nothing else: ``"factors"``, as published and in its code, the left
        singular vectors of ``[B_1 ... B_N]`` and the right ones of the A under
        each other; ``"updates"``, those of the updates side by side and under
        each other.

    Returns
    -------
    CoreSpace
        Each update to 1e-13 of its own norm, however that compares with the
        norms of others; to no better than rounding leaves the product of its
        factors, where they are much larger than the update.

    Raises
    ------
    Quarantine
        NO_CONVERGENCE where a factor holds infinities or NaN.

    Notes
    -----
    The spans are found from the updates' singular vectors, so they and the
    rank do not depend on the gauge (G A, B inv(G)) that the factors were
    trained in. Axes of updates do not either. Axes of factors do: this is the
    one place beside the recipes that looks at raw factors, without their
    scales. Singular values that are equal leave either axes undetermined, and
    signs always are: no method here depends on those.

    The published code leaves out no direction: of updates with one A its
    cores have rows and columns of zeros, which count where a share of the
    entries is kept. Here they do not exist.
    """
    updates = [_widened(update) for update in updates]
    triplets = [_triplets(update) for update in updates]
    U = _span([part.U for part in triplets])
    V = _span([part.V for part in triplets])
    parts = [Triplets(U.T @ t.U, t.s, V.T @ t.V) for t in triplets]
    if axes == "factors":
        rows = _side_by_side(U.T @ update.B for update in updates)
        columns = _side_by_side((update.A @ V).T for update in updates)
    else:
        rows = _side_by_side(part.left for part in parts)
        columns = _side_by_side(part.V * part.s for part in parts)
    W, Z = _axes(rows), _axes(columns)
    return CoreSpace(
        U @ W,
        V @ Z,
        tuple(Triplets(W.T @ part.U, part.s, Z.T @ part.V) for part in parts),
    )


def _widened(update: Factors) -> Factors:
    A, B = (np.asarray(F, np.float64) for F in (update.A, update.B))
    return Factors(A, B, update.scale)


def _triplets(update: Factors) -> Triplets:
    """Return those of a numerical rank."""
    U, s, V = factored_svd(update.A, update.B, scale=update.scale)
    kept = s > _ROUNDING * s[0]
    return Triplets(U[:, kept], s[kept], V[:, kept])


def _span(frames: Sequence[Matrix]) -> Matrix:
    """Return an orthonormal frame of all columns; of none, of the first axis.

    Every column has length 1, so what a direction left out takes from an
    update is a share of that update.
    """
    stacked = np.concatenate(frames, axis=1)
    if stacked.shape[1] == 0:
        return np.eye(len(stacked), 1)
    P, s, _ = svd(stacked)
    span: Matrix = P[:, s > _ROUNDING * s[0]]
    return span


def _axes(columns: Matrix) -> Matrix:
    """Return the left singular vectors of some columns; of none, one axis."""
    if columns.shape[1] == 0:
        return np.eye(len(columns))
    axes: Matrix = svd(columns)[0]
    return axes


def _side_by_side(matrices: Iterable[Matrix]) -> Matrix:
    return np.concatenate(list(matrices), axis=1)
