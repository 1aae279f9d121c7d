r"""The factors of an adapter from shared bases and its own small matrix."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spectra.apply.compression.shared import Tensors
from spectra.subspaces.recipes.table import Factors

__all__ = ["beside", "difference", "rejoined"]

Matrix = NDArray[np.float64]


def rejoined(member: Tensors, /) -> Factors:
    r"""Return :math:`U \Sigma V^T` as factors of scale 1.

    Parameters
    ----------
    member
        Bases, and the member's own matrix, (R, R) or (R): where U and V
        differ in their columns the rank is the lesser.

    Notes
    -----
    B is :math:`U \Sigma / c` and A is :math:`c V^T`, with a power of two c
    that makes their norms alike: half precision has no room for a small B
    beside an orthonormal A.
    """
    U, sigma, V = member.U, member.sigma, member.V
    if sigma.ndim == 1:
        B, A = U * sigma, V.T
    elif V.shape[1] <= U.shape[1]:
        B, A = U @ sigma, V.T
    else:
        B, A = U, sigma @ V.T
    norms = np.linalg.norm(B), np.linalg.norm(A)
    if min(norms) > 0:
        c = 2.0 ** round(math.log2(norms[0] / norms[1]) / 2)
        B, A = B / c, A * c
    return Factors(A, B, 1.0)


def beside(parts: Sequence[Factors], /) -> Factors:
    """Return maps of one input under one another, as one pair of factors."""
    ranks = [part.rank for part in parts]
    B = np.zeros((sum(len(part.B) for part in parts), sum(ranks)))
    row = column = 0
    for part, rank in zip(parts, ranks, strict=True):
        B[row : row + len(part.B), column : column + rank] = part.B
        row, column = row + len(part.B), column + rank
    return Factors(np.concatenate([part.A for part in parts]), B, 1.0)


def difference(found: Factors, wanted: Factors, /) -> float:
    """Return the norm of what two maps of one rank differ by, of the second.

    Parameters
    ----------
    found, wanted
        Of scale 1, factor near factor: the differences of these are taken,
        not those of large numbers.
    """
    B = np.concatenate([found.B - wanted.B, wanted.B], axis=1)
    A = np.concatenate([found.A, found.A - wanted.A])
    norm = _norm(wanted.B, wanted.A)
    return _norm(B, A) / norm if norm > 0 else 0.0


def _norm(B: Matrix, A: Matrix) -> float:
    return math.sqrt(max(0.0, float(np.sum((B.T @ B) * (A @ A.T)))))
