"""A merged update between two frames, and the nearest one of a lower rank."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectra.apply.merging.triplets import Triplets
from spectra.linalg.solvers import leading_eigh, svd
from spectra.subspaces.recipes.table import Factors

__all__ = ["Framed", "Reduced", "reduced"]

Matrix = NDArray[np.float64]

_SMALL_SIDE = 384
"""Up to this min(p, q) a decomposition takes less than 0.2 s as it is."""

_RESOLVED = 1e-6
"""What a Gram matrix does not tell from nothing is 1e-8 of the norm: where
less than a hundred times as much is left over, the matrix is decomposed."""


@dataclass(frozen=True, slots=True)
class Framed:
    r"""A map :math:`U M V^T`, as a small matrix between two frames.

    Attributes
    ----------
    U
        (out, p) with orthonormal columns; None for the axes of the outputs.
    M
        (p, q).
    V
        (in, q) with orthonormal columns; None for the axes of the inputs.
    """

    U: Matrix | None
    M: Matrix
    V: Matrix | None

    def lifted(self) -> Matrix:
        """Return the map itself, (out, in)."""
        lifted = self.M if self.U is None else self.U @ self.M
        return lifted if self.V is None else lifted @ self.V.T


@dataclass(frozen=True, slots=True)
class Reduced:
    """A map of few directions, as factors, and how far it is from another.

    Attributes
    ----------
    factors
        B (out, r) and A (r, in), of scale 1.
    error
        Relative to the norm of the map that it stands for.
    """

    factors: Factors
    error: float


def reduced(map_: Framed, rank: int, /) -> Reduced:
    """Return the best map of at most `rank` directions, and its error.

    Parameters
    ----------
    map_
        Any.
    rank
        Columns of B; fewer where the map's frames have not so many. The roots
        of the singular values go to both factors alike.

    Notes
    -----
    Nothing is drawn. Of a large M the left directions come from its Gram
    matrix, at a fifth of the cost of a decomposition (4096 x 4096: ten
    seconds instead of fifty on one core), and the rest from M in them; a
    residual near what a Gram matrix resolves is not accepted.
    """
    norm = float(np.linalg.norm(map_.M))
    kept, missed = _leading(map_.M, rank, norm)
    root = np.sqrt(kept.s)
    B = kept.U if map_.U is None else map_.U @ kept.U
    A = kept.V if map_.V is None else map_.V @ kept.V
    return Reduced(
        Factors(A=(A * root).T, B=B * root), missed / norm if norm else 0.0
    )


def _leading(M: Matrix, rank: int, norm: float) -> tuple[Triplets, float]:
    """Return the leading triplets of M, and the norm of the rest."""
    if min(M.shape) > _SMALL_SIDE and 4 * rank <= min(M.shape):
        is_wide = M.shape[0] <= M.shape[1]
        X = M if is_wide else M.T
        U = leading_eigh(X @ X.T, rank)[1]
        Y = X.T @ U
        missed = float(np.linalg.norm(X - U @ Y.T))
        if missed > _RESOLVED * norm:
            V, s, Wh = svd(Y)
            U = U @ Wh.T
            return Triplets(*((U, s, V) if is_wide else (V, s, U))), missed
    W, s, Zh = svd(M)
    kept = Triplets(W[:, :rank], s[:rank], Zh[:rank].T)
    return kept, float(np.linalg.norm(s[rank:]))
