"""Decompositions that carry their proof, on every device.

A solver may stop early, or return something else without a word: LAPACK has
been seen to do both. What one returns is held against the matrix, and what
fails is decomposed once more by the next: that of NumPy after that of a
device, then other algorithms in turn. Nothing is returned without proof.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
from array_api_compat import array_namespace, is_numpy_array
from array_api_compat import device as device_of
from numpy.typing import NDArray

from spectra.backend.device import is_out_of_memory, to_host
from spectra.core.errors import Quarantine
from spectra.linalg import proofs

__all__ = [
    "all_and_leading",
    "eigh",
    "eigvalsh",
    "fits_32_bits",
    "leading_eigh",
    "power_of_two",
    "qr",
    "solve",
    "svd",
    "svdvals",
]

Array = Any
Host = NDArray[Any]


def eigh(C: Array, /) -> tuple[Array, Array]:
    """Return eigenvalues of symmetric matrices, ascending, and vectors.

    Raises
    ------
    Quarantine
        When no solver has an answer, as all of these.
    """
    values, vectors = _solved(_EIGH, _symmetric(C))
    return values, vectors


def eigvalsh(C: Array, /) -> Array:
    """Return the eigenvalues of symmetric matrices, ascending.

    Their sum and that of their squares are what is proven.
    """
    (values,) = _solved(_EIGVALSH, _symmetric(C))
    return values


def leading_eigh(C: Array, k: int, /) -> tuple[Array, Array]:
    """Return the `k` largest eigenvalues of symmetric C, ascending, and such.

    That there are none above them is not proven.
    """
    n = C.shape[0]
    # The few that are wanted cost no more than the values alone.
    if is_numpy_array(C) and 2 * k <= n and fits_32_bits(n, n):
        found = _first_proven(_leading_of(k), C)
        if found is not None:
            return found
    values, vectors = eigh(C)
    return values[n - k :], vectors[:, n - k :]


def all_and_leading(C: Host, k: int, /) -> tuple[Host, Host]:
    """Return all eigenvalues of symmetric C, ascending, and a few vectors.

    The vectors are those of the `k` largest, for little more than the price
    of the values: C is reduced to tridiagonal form once.
    """
    n = C.shape[0]
    if 2 * k <= n and fits_32_bits(n, n):
        found = _first_proven(_all_and_leading(k), C)
        if found is not None:
            return found
    values, vectors = eigh(C)
    return values, vectors[:, n - k :]


def qr(A: Array, /) -> tuple[Array, Array]:
    """Return Q and R of each ``A = Q R``, Q with orthonormal columns."""
    Q, R = _solved(_QR, A)
    return Q, R


def solve(A: Host, b: Host, /) -> Host:
    """Return x of ``A x = b``, for a square matrix on the host."""
    others = (
        lambda A: (scipy.linalg.solve(A, b, check_finite=False),),
        lambda A: (scipy.linalg.lstsq(A, b, check_finite=False)[0],),
    )
    kind = _Kind(
        "solve",
        lambda linalg, A: (linalg.solve(A, b),),
        others,
        lambda xp, A, size, x: proofs.is_solution(xp, A, size, b, x),
        of_symmetric=False,
    )
    x: Host = _solved(kind, A)[0]
    return x


def svd(A: Array, /) -> tuple[Array, Array, Array]:
    """Return thin U, s, Vh of each ``A = U diag(s) Vh``, largest first."""
    U, s, Vh = _solved(_SVD, A)
    return U, s, Vh


def svdvals(A: Array, /) -> Array:
    """Return the singular values of A, largest first.

    The sum of their squares is what is proven.
    """
    (s,) = _solved(_SVDVALS, A)
    return s


def fits_32_bits(m: int, n: int, /) -> bool:
    """Return whether SciPy's LAPACK can count the entries of such a matrix.

    It counts in 32 bits, its workspace too, which for the drivers here is of
    no more entries than 64 a row and column. NumPy's counts in 64.

    Examples
    --------
    >>> fits_32_bits(46_340, 46_340), fits_32_bits(46_341, 46_341)
    (True, False)
    """
    return max(m * n, 64 * (m + n)) < 2**31


def power_of_two(A: Array, /) -> float:
    """Return the one that makes A's largest entry 1/2 or more, below 1.

    Multiplication by it is exact. 1.0 for zeros, and for what is not finite;
    no more than a number of A's dtype can be, which denormals would need.
    """
    xp = array_namespace(A)
    peak = float(xp.max(xp.abs(A)))
    if peak == 0 or not np.isfinite(peak):
        return 1.0
    most = int(np.frexp(float(xp.finfo(A.dtype).max))[1]) - 1
    return float(2.0 ** min(-int(np.frexp(peak)[1]), most))


Found = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class _Kind:
    """A decomposition.

    Attributes
    ----------
    first
        Does it by a library's own `linalg`.
    others
        Do it on the host, for one matrix, in the order of their speed.
    holds
        Proves it.
    of_symmetric
        Whether values come first, of the lower triangle.
    """

    name: str
    first: Callable[[Any, Array], Found]
    others: tuple[Callable[[Host], Found], ...]
    holds: Callable[..., Array]
    of_symmetric: bool = True


def _by_driver(name: str) -> Callable[[Host], Found]:
    """Return SciPy's `eigh` by that driver; it reads the lower triangle."""

    def solve(C: Host) -> Found:
        found = scipy.linalg.eigh(C, driver=name, check_finite=False)
        return tuple(found)

    return solve


def _values_by_driver(name: str) -> Callable[[Host], Found]:
    def solve(C: Host) -> Found:
        return (
            scipy.linalg.eigh(
                C, driver=name, check_finite=False, eigvals_only=True
            ),
        )

    return solve


def _by_gesvd(A: Host) -> Found:
    U, s, Vh = scipy.linalg.svd(
        A, full_matrices=False, check_finite=False, lapack_driver="gesvd"
    )
    return U, s, Vh


def _by_gram(A: Host) -> Found:
    """Return triplets from the eigenvectors of the lesser Gram matrix.

    Exact where singular values above rounding differ by less than a thousand
    times or so; elsewhere there is no proof of them.
    """
    if A.shape[0] < A.shape[1]:
        V, s, Uh = _by_gram(A.T)
        return Uh.T, s, V.T
    scale = power_of_two(A)
    X = A.astype(np.float64) * scale
    V = eigh(X.T @ X)[1][:, ::-1]
    U, R = qr(X @ V)
    s = np.diagonal(R)
    order = np.argsort(-np.abs(s), kind="stable")
    U = (U * np.where(s < 0, -1.0, 1.0))[:, order]
    found = U, np.abs(s)[order] / scale, V.T[order]
    return tuple(part.astype(A.dtype) for part in found)


def _by_scipy_qr(A: Host) -> Found:
    Q, R = scipy.linalg.qr(A, mode="economic", check_finite=False)
    return Q, R


_EIGH = _Kind(
    "eigh",
    lambda linalg, C: tuple(linalg.eigh(C)),
    (_by_driver("ev"), _by_driver("evr"), _by_driver("evx")),
    proofs.are_eigenpairs,
)
_EIGVALSH = _Kind(
    "eigvalsh",
    lambda linalg, C: (linalg.eigvalsh(C),),
    (
        _values_by_driver("ev"),
        _values_by_driver("evr"),
        _values_by_driver("evx"),
    ),
    proofs.are_eigenvalues,
)
_QR = _Kind(
    "qr",
    lambda linalg, A: tuple(linalg.qr(A)),
    (_by_scipy_qr,),
    proofs.are_factors,
    of_symmetric=False,
)
_SVD = _Kind(
    "svd",
    lambda linalg, A: tuple(linalg.svd(A, full_matrices=False)),
    (_by_gesvd, _by_gram),
    proofs.are_triplets,
    of_symmetric=False,
)

_SVDVALS = _Kind(
    "svdvals",
    lambda linalg, A: (linalg.svdvals(A),),
    (lambda A: (_by_gesvd(A)[1],), lambda A: (_by_gram(A)[1],)),
    proofs.are_singular_values,
    of_symmetric=False,
)


def _leading_of(k: int) -> _Kind:
    """Return the decomposition into the `k` leading eigenpairs."""

    def first(_: Any, C: Host) -> Found:
        n = C.shape[0]
        found = scipy.linalg.eigh(
            C, subset_by_index=(n - k, n - 1), driver="evx", check_finite=False
        )
        return tuple(found)

    return _Kind("eigh", first, (), proofs.are_eigenpairs)


def _all_and_leading(k: int) -> _Kind:
    """Return the decomposition into all values and `k` leading vectors."""

    def first(_: Any, C: Host) -> Found:
        n, lapack = C.shape[0], scipy.linalg.lapack
        T, d, e, tau, fault = lapack.dsytrd(C, lower=1, lwork=64 * n)
        tridiagonal = scipy.linalg.eigh_tridiagonal
        values = tridiagonal(d, e, eigvals_only=True, lapack_driver="sterf")
        _, V = tridiagonal(d, e, select="i", select_range=(n - k, n - 1))
        # Its reflectors lie below the diagonal, as those of a QR would.
        V[1:], _, back = lapack.dormqr(
            "L", "N", T[1:, :-1], tau, V[1:], 64 * k
        )
        if fault or back:
            raise ValueError
        return values, V

    def holds(xp: Any, C: Host, size: Host, values: Host, V: Host) -> Array:
        pairs = proofs.are_eigenpairs(xp, C, size, values[-k:], V)
        return pairs & proofs.are_eigenvalues(xp, C, size, values)

    return _Kind("eigh", first, (), holds)


def _symmetric(C: Array) -> Array:
    """Return C; products of a GPU need not be symmetric to the last bit."""
    if is_numpy_array(C):
        return C
    return (C + array_namespace(C).matrix_transpose(C)) / 2


def _solved(kind: _Kind, A: Array) -> Found:
    found = _first_proven(kind, A)
    if found is not None:
        return found
    if not is_numpy_array(A):
        xp, where = array_namespace(A), device_of(A)
        parts = _solved(kind, to_host(A))
        return tuple(xp.asarray(part, device=where) for part in parts)
    if A.ndim > 2:
        each = [_solved(kind, one) for one in A]
        return tuple(np.stack(parts) for parts in zip(*each, strict=True))
    return _by_others(kind, A)


def _first_proven(kind: _Kind, A: Array) -> Found | None:
    """Return what the library of A itself finds; None without proof."""
    xp, is_host = array_namespace(A), is_numpy_array(A)
    with np.errstate(all="ignore"):
        size = proofs.sizes(xp, A)
        if is_host and not np.isfinite(size).all():
            _require_finite(kind, A)
        try:
            found = kind.first(np.linalg if is_host else xp.linalg, A)
        except (RuntimeError, ValueError) as error:
            # Each library's LinAlgError is one of these, cuSOLVER's error too.
            if is_out_of_memory(error):
                raise
            return None
        return found if _holds(kind, xp, A, size, found) else None


def _by_others(kind: _Kind, A: Host) -> Found:
    xp = array_namespace(A)
    with np.errstate(all="ignore"):
        size = proofs.sizes(xp, A)
        for solve in kind.others if fits_32_bits(*A.shape) else ():
            try:
                found = solve(A)
            except (RuntimeError, ValueError):
                continue
            if _holds(kind, xp, A, size, found):
                return found
    raise Quarantine(
        "NO_CONVERGENCE",
        f"no {kind.name} of a {A.shape[0]} x {A.shape[1]} matrix holds",
    )


def _require_finite(kind: _Kind, A: Host) -> None:
    """Let nothing reach LAPACK that it would print about, or not come back."""
    if not np.isfinite(A).all():
        raise Quarantine(
            "NO_CONVERGENCE",
            f"no {kind.name}: a matrix on the way holds infinities or NaN",
        )


def _holds(kind: _Kind, xp: Any, A: Array, size: Array, found: Found) -> bool:
    if not proofs.can_be_squared(xp, A, size):
        if A.ndim > 2:
            return False  # They are proven one by one, then.
        A, found = _of_size_one(kind, A, found)
        size = proofs.sizes(xp, A)
    if bool(kind.holds(xp, A, size, *found)):
        return True
    if not kind.of_symmetric:
        return False
    # It may be symmetric up to the rounding of something larger: what was
    # decomposed is the lower triangle.
    C = xp.tril(A) + xp.matrix_transpose(xp.tril(A, k=-1))
    return bool(kind.holds(xp, C, proofs.sizes(xp, C), *found))


def _of_size_one(kind: _Kind, A: Array, found: Found) -> tuple[Array, Found]:
    scale, parts = power_of_two(A), list(found)
    place = 0 if kind.of_symmetric or len(parts) == 1 else 1
    parts[place] = parts[place] * scale
    return A * scale, tuple(parts)
