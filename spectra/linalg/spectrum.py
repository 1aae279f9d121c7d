"""All singular values of one matrix, and how well they are known.

Small matrices are decomposed whole. Of large ones the eigenvalues of the Gram
matrix of the lesser side are found, a quarter of the time: summed in float64
it resolves singular values down to 1e-8 of the largest, less than what is
left of them once they have been stored in 32 bits.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.linalg.solvers import all_and_leading, power_of_two, svd

__all__ = ["CERTIFIED", "Certificate", "Spectrum", "of_gram", "of_matrix"]

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

_EPS = float(np.finfo(np.float64).eps)

CERTIFIED = 16
"""Leading singular vectors that are kept, and proven with the values."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """How far values and vectors are from solving what they should.

    Attributes
    ----------
    method
        ``"svd"`` of the matrix, ``"gram"`` for eigenvalues of its Gram matrix,
        ``"factors"`` for two QR of an adapter's.
    residual
        ``||X - U diag(s) V.T|| / ||X||`` of all triplets, for ``"gram"``
        ``max ||C v - s^2 v|| / s_1^2`` of the leading ones.
    orthogonality
        Largest entry of ``V.T V - I``, and of ``U.T U - I`` where there is U.
    """

    method: str
    residual: float
    orthogonality: float


@dataclass(frozen=True, slots=True)
class Spectrum:
    """Singular values, largest first, and what they were proven with.

    Attributes
    ----------
    s
        All min(m, n) of them.
    floor
        What rounding may have made of zero: values below tell nothing.
    V
        Leading singular vectors of the lesser side, one a column.
    """

    s: Vector
    floor: float
    V: Matrix
    certificate: Certificate


def of_matrix(X: Matrix, /) -> Spectrum:
    """Return the spectrum of X (m, n), from all of its singular triplets."""
    scale = power_of_two(X)
    X = X * scale
    U, s, Vh = svd(X)
    size = float(np.linalg.norm(X))
    off = float(np.linalg.norm(X - (U * s) @ Vh)) / size if size else 0.0
    vectors = Vh.T if X.shape[0] >= X.shape[1] else U
    certificate = Certificate("svd", off, max(_skew(U), _skew(Vh.T)))
    floor = max(X.shape) * _EPS * float(s[0])
    vectors = vectors[:, :CERTIFIED]
    return Spectrum(s / scale, floor / scale, vectors, certificate)


def of_gram(pieces: Iterable[Matrix], p: int, /) -> Spectrum:
    """Return the spectrum of a matrix (any, p) that comes in pieces of rows.

    Parameters
    ----------
    pieces
        float64 (rows, p), none of them kept.
    p
        The lesser side.
    """
    C = np.zeros((p, p))
    for piece in pieces:
        C += piece.T @ piece
    rising, vectors = all_and_leading(C, min(CERTIFIED, p))
    values, V = rising[::-1], vectors[:, ::-1]
    most = float(values[0])
    off = C @ V - V * values[: V.shape[1]]
    residual = float(np.linalg.norm(off, axis=0).max()) / most if most else 0.0
    s = np.sqrt(np.maximum(values, 0.0))
    certificate = Certificate("gram", residual, _skew(V))
    floor = math.sqrt(p * _EPS * max(most, 0.0))
    return Spectrum(s, floor, V, certificate)


def _skew(Q: NDArray[Any]) -> float:
    return float(np.abs(Q.T @ Q - np.eye(Q.shape[1])).max())
