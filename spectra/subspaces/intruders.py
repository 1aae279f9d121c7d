r"""Directions that training put among the leading ones of the base.

A leading singular vector of ``W_base + x`` that is near none of the base's
own is an intruder (Shuttleworth et al. 2024, arXiv:2410.21228).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from array_api_compat import array_namespace
from array_api_compat import device as device_of
from numpy.typing import NDArray

from spectra.backend.device import to_host
from spectra.linalg.gram import eigenpairs
from spectra.linalg.solvers import eigh, qr
from spectra.linalg.svd import block_krylov

__all__ = [
    "EPSILON",
    "LEADING",
    "UNKNOWN",
    "added_intruders",
    "intruders_of",
    "tried",
]

Array = Any

LEADING = 10
"""Leading directions of a member that are looked at."""

EPSILON = 0.5
"""Largest cosine with any direction of the base that an intruder has."""

UNKNOWN = -1
"""Stands for the number of a member that was not looked at."""

_TRIED = 16
"""Members of a layer that are looked at: 0.07 s each for full weights of
2048 x 2048, where the base itself takes 3 s."""

_DEPTH = 4
"""Of the Krylov space for that: half as deep as for singular vectors that are
kept, since only cosines near `EPSILON` are told apart."""

_FIRST = 128
"""Leading directions of the base that a search among them begins with."""

_NOTHING = 1e-6
"""Share of the largest singular value below which a direction is none."""


def tried(digests: Sequence[str], /) -> list[int]:
    """Return the members to look at, by their bytes: in any order the same.

    Examples
    --------
    >>> tried(["b", "a"])
    [1, 0]
    """
    return sorted(range(len(digests)), key=digests.__getitem__)[:_TRIED]


def intruders_of(W: Array, U: Array, /) -> int:
    """Return how many leading left directions of W are near no column of U.

    Parameters
    ----------
    W
        (out, in), base and update together.
    U
        (out, m), the base's left singular vectors, all of them.
    """
    xp = array_namespace(W)
    wide = W.shape[0] <= W.shape[1]
    X = W if wide else xp.matrix_transpose(W)
    k = min(LEADING, X.shape[0])
    left, s, right = block_krylov(X, k, depth=_DEPTH)
    Y = left if wide else right
    return _count(xp.matrix_transpose(U) @ Y, to_host(s))


def added_intruders(values: Array, a: Array, b: Array, s: Array, /) -> int:
    r"""Return the intruders of base and low-rank update, neither formed.

    Parameters
    ----------
    values
        m singular values of the base.
    a, b
        (r, m): the update's left and right singular vectors in coordinates
        of the base's; zero rows beyond its rank.
    s
        r singular values of the update.

    Notes
    -----
    With D = diag(values) and c = s b D, the coordinates of :math:`W W^\top`
    are

    .. math:: M = D^2 + c^\top a + a^\top c + a^\top s^2 a,

    and the entries of an eigenvector are its cosines with the directions of
    the base. What of the update's left vectors lies outside of those gets r
    coordinates of its own. Eigenvectors are sought in the span of the first
    coordinates, a and c: an eigenvector's remaining part solves a system whose
    matrix is diagonal and whose right side is in the span of a and c, and is
    nearly that right side where the base's values are small beside its own.
    Of a nearly flat spectrum cosines were found within 0.003.
    """
    xp = array_namespace(values, a, b, s)
    m, outer = values.shape[0], _outside(a)
    c = xp.concat([b * values, xp.zeros_like(outer)], axis=1) * s[:, None]
    a = xp.concat([a, outer], axis=1)
    squares = xp.concat([values, xp.zeros_like(s)])[:, None] ** 2
    A, C = xp.matrix_transpose(a), xp.matrix_transpose(c)
    span = xp.concat([A, C], axis=1)
    Q = _with_first_coordinates(span, min(_FIRST, int(A.shape[0])))
    Y = a @ Q
    MQ = squares * Q + C @ Y + A @ (c @ Q + s[:, None] ** 2 * Y)
    found, Z = eigenpairs(xp.matrix_transpose(Q) @ MQ, min(LEADING, m))
    singular = np.sqrt(np.maximum(0.0, to_host(found)))
    return _count((Q @ Z)[:m, :], singular)


def _with_first_coordinates(X: Array, p: int) -> Array:
    """Return orthonormal columns that span the first p coordinates and X."""
    xp = array_namespace(X)
    d, where = X.shape[0], device_of(X)
    first = xp.eye(d, p, dtype=X.dtype, device=where)
    if p == d:
        return first
    rest = qr(X[p:, :])[0]
    above = xp.zeros((p, rest.shape[1]), dtype=X.dtype, device=where)
    return xp.concat([first, xp.concat([above, rest])], axis=1)


def _outside(a: Array) -> Array:
    """Return E, (r, r), with ``E @ E.T`` what ``a @ a.T`` lacks of one."""
    xp = array_namespace(a)
    one = xp.eye(a.shape[0], dtype=a.dtype, device=device_of(a))
    values, Z = eigh(one - a @ xp.matrix_transpose(a))
    return Z * xp.sqrt(xp.clip(values, min=0.0))


def _count(cosines: Array, s: NDArray[Any]) -> int:
    xp = array_namespace(cosines)
    nearest = to_host(xp.max(xp.abs(cosines), axis=0))
    far = (nearest < EPSILON) & (s > _NOTHING * s[0])
    return int(np.count_nonzero(far))
