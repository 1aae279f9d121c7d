"""Proofs that what a solver returned is a decomposition of the matrix.

Their price is small beside the decomposition's: factors are multiplied with
one vector, not with each other. Whatever is wrong by more than rounding moves
that vector's image by as much as it is wrong.
"""

import math
from functools import lru_cache
from typing import Any

import numpy as np
from array_api_compat import array_namespace, is_numpy_array
from array_api_compat import device as device_of
from numpy.typing import NDArray

__all__ = [
    "are_eigenpairs",
    "are_eigenvalues",
    "are_factors",
    "are_singular_values",
    "are_triplets",
    "can_be_squared",
    "is_solution",
    "sizes",
]

Array = Any

_ROUNDINGS = 50.0
"""How far off a product may be, in roundings of a matrix of its shape: LAPACK
stays below 2."""


def sizes(xp: Any, A: Array, /) -> Array:
    """Return the Frobenius norm of each matrix of a stack."""
    flat = xp.reshape(A, (*A.shape[:-2], A.shape[-2] * A.shape[-1]))
    return xp.sqrt(xp.linalg.vecdot(flat, flat))


def can_be_squared(xp: Any, A: Array, size: Array, /) -> bool:
    """Return whether no square of a number, or its rounding, is lost."""
    if 0 in A.shape:
        return True
    eps, least, most = _precision(xp, A.dtype)
    safe = (size > least**0.5 / eps) & (size < most**0.5 * eps)
    if bool(_all(xp, safe)):
        return True
    zero = xp.max(xp.abs(A), axis=(-2, -1)) == 0
    return bool(_all(xp, safe | zero))


def are_eigenvalues(xp: Any, C: Array, size: Array, values: Array, /) -> Array:
    """Return whether they ascend and have the sums of those of each C."""
    most = _rounding(xp, C) * size
    trace = xp.sum(xp.linalg.diagonal(C), axis=-1)
    first = xp.abs(xp.sum(values, axis=-1) - trace)
    second = xp.abs(xp.linalg.vecdot(values, values) - size * size)
    sums = (first <= most) & (second <= most * size)
    return _ascend(xp, values) & _all(xp, sums)


def are_eigenpairs(
    xp: Any, C: Array, size: Array, values: Array, V: Array, /
) -> Array:
    """Return whether they are eigenpairs of each C, ascending; perhaps few."""
    x = _vector(V)
    y, z = V @ x, _times(V, values * x)
    pairs = _near(xp, _times(C, y), z, _rounding(xp, C) * size)
    return _ascend(xp, values) & _orthonormal(xp, V, x, y) & pairs


def are_factors(
    xp: Any, A: Array, size: Array, Q: Array, R: Array, /
) -> Array:
    """Return whether each ``A = Q R`` and Q has orthonormal columns."""
    x, y = _vector(A), _vector(Q)
    product = _near(xp, _times(Q, R @ x), A @ x, _rounding(xp, A) * size)
    return product & _orthonormal(xp, Q, y, Q @ y)


def are_singular_values(xp: Any, A: Array, size: Array, s: Array, /) -> Array:
    """Return whether they descend, and their squares have each A's sum."""
    off = xp.abs(xp.linalg.vecdot(s, s) - size * size)
    sums = (off <= _rounding(xp, A) * size * size) & (s[..., -1] >= 0)
    return _ascend(xp, -s) & _all(xp, sums)


def are_triplets(
    xp: Any, A: Array, size: Array, U: Array, s: Array, Vh: Array, /
) -> Array:
    """Return whether they are all triplets of each A, largest first."""
    x, most = _vector(U), _rounding(xp, A) * size
    V = xp.matrix_transpose(Vh)
    u, v = U @ x, V @ x
    return (
        # What A has beside V would be missing from the squares.
        are_singular_values(xp, A, size, s)
        & _orthonormal(xp, U, x, u)
        & _orthonormal(xp, V, x, v)
        & _near(xp, _times(A, v), _times(U, s * x), most)
    )


def is_solution(
    xp: Any, A: Array, size: Array, b: Array, x: Array, /
) -> Array:
    """Return whether ``A x = b``, for one matrix."""
    most = size * xp.linalg.vector_norm(x) + xp.linalg.vector_norm(b)
    return _near(xp, A @ x, b, _rounding(xp, A) * most)


def _ascend(xp: Any, values: Array) -> Array:
    return xp.all(values[..., 1:] >= values[..., :-1])


def _orthonormal(xp: Any, Q: Array, x: Array, y: Array) -> Array:
    """Return whether ``Q.T @ Q`` is one, by x and ``y = Q @ x``."""
    most = _rounding(xp, Q) * Q.shape[-1] ** 0.5
    return _near(xp, (y[..., None, :] @ Q)[..., 0, :], x, most)


def _times(A: Array, x: Array) -> Array:
    """Return the products of matrices with a vector each."""
    return (A @ x[..., None])[..., 0]


def _near(xp: Any, found: Array, expected: Array, most: Any) -> Array:
    """Return whether all differ by no more; never where not finite."""
    difference = found - expected
    squares = xp.linalg.vecdot(difference, difference)
    return _all(xp, squares <= most * most)


def _all(xp: Any, each: Array) -> Array:
    return each if each.ndim == 0 else xp.all(each)


def _rounding(xp: Any, A: Array) -> float:
    m, n = A.shape[-2:]
    return _ROUNDINGS * _precision(xp, A.dtype)[0] * math.sqrt(m * n)


@lru_cache(maxsize=64)
def _precision(xp: Any, dtype: Any) -> tuple[float, float, float]:
    """Return a dtype's rounding, its least normal number, and its largest."""
    info = xp.finfo(dtype)
    return float(info.eps), float(info.smallest_normal), float(info.max)


def _vector(A: Array) -> Array:
    """Return a vector that the matrices (m, n) of a stack multiply, (n,)."""
    x = _entries(int(A.shape[-1]))
    if is_numpy_array(A):
        return x.astype(A.dtype, copy=False)
    xp = array_namespace(A)
    return xp.asarray(x, dtype=A.dtype, device=device_of(A))


@lru_cache(maxsize=64)
def _entries(n: int) -> NDArray[np.float64]:
    """Return n random entries, none near zero, of unit variance or so."""
    x = np.random.default_rng(n).uniform(-1, 1, n)
    x += np.copysign(0.5, x)
    return x
