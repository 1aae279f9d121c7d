"""Decompositions that carry their proof, on every device.

LAPACK is trusted. The solvers of a GPU may stop early, or return something
else without a word: what they find is multiplied out, and what fails, or does
not give the matrix back, is decomposed once more on the host.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from array_api_compat import array_namespace, is_numpy_array
from array_api_compat import device as device_of

from spectra.backend.device import is_out_of_memory, to_host

__all__ = ["eigh", "eigvalsh", "qr", "svd"]

Array = Any

_ROUNDINGS = 50.0
"""How far off a product may be, in roundings of a matrix of its shape: LAPACK
stays below 2."""


def eigh(C: Array, /) -> tuple[Array, Array]:
    """Return the eigenvalues of symmetric C, ascending, and its vectors."""
    values, vectors = _proven(
        _symmetric(C), lambda linalg, C: linalg.eigh(C), _are_eigenpairs
    )
    return values, vectors


def eigvalsh(C: Array, /) -> Array:
    """Return the eigenvalues of each symmetric matrix of a stack, ascending.

    Their sum and that of their squares are what is proven.
    """
    (values,) = _proven(
        _symmetric(C), lambda linalg, C: (linalg.eigvalsh(C),), _have_the_sums
    )
    return values


def qr(A: Array, /) -> tuple[Array, Array]:
    """Return Q and R of ``A = Q R``, Q with orthonormal columns."""
    Q, R = _proven(A, lambda linalg, A: linalg.qr(A), _are_factors)
    return Q, R


def svd(A: Array, /) -> tuple[Array, Array, Array]:
    """Return thin U, s, Vh of ``A = U diag(s) Vh``, largest first."""
    U, s, Vh = _proven(
        A, lambda linalg, A: linalg.svd(A, full_matrices=False), _are_triplets
    )
    return U, s, Vh


def _symmetric(C: Array) -> Array:
    """Return C; products of a GPU need not be symmetric to the last bit."""
    if is_numpy_array(C):
        return C
    return (C + array_namespace(C).matrix_transpose(C)) / 2


def _proven(
    A: Array, solve: Callable[..., Any], holds: Callable[..., Array]
) -> Any:
    xp = array_namespace(A)
    if is_numpy_array(A):
        return solve(xp.linalg, A)
    try:
        found = solve(xp.linalg, A)
    except (RuntimeError, ValueError) as error:
        # Each library's LinAlgError is one of these, cuSOLVER's error too.
        if is_out_of_memory(error):
            raise
    else:
        if bool(holds(A, *found)):
            return found
    where = device_of(A)
    return [
        xp.asarray(part, device=where) for part in solve(np.linalg, to_host(A))
    ]


def _are_eigenpairs(C: Array, values: Array, V: Array) -> Array:
    xp = array_namespace(C)
    ascending = xp.all(values[1:] >= values[:-1])
    return ascending & _orthonormal(V) & _equal(C @ V, V * values, C)


def _are_factors(A: Array, Q: Array, R: Array) -> Array:
    return _orthonormal(Q) & _equal(Q @ R, A, A)


def _are_triplets(A: Array, U: Array, s: Array, Vh: Array) -> Array:
    V = array_namespace(A).matrix_transpose(Vh)
    vectors = _orthonormal(U) & _orthonormal(V)
    xp = array_namespace(A)
    descending = xp.all(s[1:] <= s[:-1]) & xp.all(s >= 0)
    return descending & vectors & _equal((U * s) @ Vh, A, A)


def _have_the_sums(C: Array, values: Array) -> Array:
    xp = array_namespace(C)
    ascending = xp.all(values[..., 1:] >= values[..., :-1])
    squares = xp.sum(C * C, axis=(-2, -1))
    trace = xp.sum(xp.linalg.diagonal(C), axis=-1)
    most = _rounding(C)
    first = xp.abs(xp.sum(values, axis=-1) - trace)
    second = xp.abs(xp.sum(values * values, axis=-1) - squares)
    return (
        ascending
        & xp.all(first <= most * xp.sqrt(squares))
        & xp.all(second <= most * squares)
    )


def _orthonormal(Q: Array) -> Array:
    xp = array_namespace(Q)
    one = xp.eye(Q.shape[1], dtype=Q.dtype, device=device_of(Q))
    return _equal(xp.matrix_transpose(Q) @ Q, one, one, like=Q)


def _equal(
    found: Array, expected: Array, scale: Array, *, like: Array | None = None
) -> Array:
    """Return whether two matrices differ by rounding; never where not finite.

    Rounding is that of a matrix of the shape of `like`, `scale` otherwise.
    """
    norm = array_namespace(found).linalg.vector_norm
    most = _rounding(scale if like is None else like) * norm(scale)
    return norm(found - expected) <= most


def _rounding(A: Array) -> float:
    m, n = A.shape[-2:]
    eps = float(array_namespace(A).finfo(A.dtype).eps)
    return float(_ROUNDINGS * eps * np.sqrt(max(1, m * n)))
