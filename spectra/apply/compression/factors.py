"""A map that is nearly of low rank, as the two factors of an adapter."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectra.linalg.gram import eigenpairs

__all__ = ["Factored", "factored", "factored_nbytes"]

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Factored:
    """``B @ A``, and how far it is from the map.

    Attributes
    ----------
    A
        (rank, in).
    B
        (out, rank).
    error
        Relative to the norm of the map.
    """

    A: Matrix
    B: Matrix
    error: float


def factored(W: Matrix, rank: int, /) -> Factored:
    r"""Return the best map of a rank as factors of like norms.

    Parameters
    ----------
    W
        (out, in), in float64.
    rank
        Rows of A; those beyond the lesser side of W are zero.

    Notes
    -----
    The leading eigenvectors U of the lesser Gram matrix are known to an angle
    of 3e-8, and :math:`U U^T W` is off in second order only: there is no
    singular value decomposition of a large map.
    """
    wide = W if W.shape[0] <= W.shape[1] else W.T
    found = min(rank, len(wide))
    _, U = eigenpairs(wide @ wide.T, found)
    U = U[:, :found]
    inner = U.T @ wide
    norms = np.linalg.norm(inner, axis=1)
    roots = np.where(norms > 0, np.sqrt(norms), 1.0)
    left, right = U * roots, inner / roots[:, None]
    norm = float(np.linalg.norm(W))
    lost = float(np.linalg.norm(wide - U @ inner))
    B, A = (left, right) if wide is W else (right.T, left.T)
    lacking = rank - found
    return Factored(
        np.pad(A, ((0, lacking), (0, 0))),
        np.pad(B, ((0, 0), (0, lacking))),
        lost / norm if norm > 0 else 0.0,
    )


def factored_nbytes(shape: tuple[int, int], /) -> int:
    """Return at most what `factored` takes beside the map, in bytes."""
    least = min(shape)
    return 8 * (2 * shape[0] * shape[1] + 4 * least**2)
