r"""Updates as one pair of bases and a small matrix of their own each.

Joint diagonalisation of Gabrielsson et al. (2024): :math:`x_i \approx U
\Sigma_i V^T`, with one U and one V for all updates of a layer. All is done in
their factors; no update is formed.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectra.apply.compression.small import Small, small
from spectra.apply.merging.core_space import CoreSpace
from spectra.linalg.gram import eigenpairs
from spectra.linalg.krylov import (
    OVERSAMPLING,
    leading_eigenpairs,
    starting_block,
)
from spectra.linalg.solvers import eigh, qr

__all__ = [
    "Bases",
    "Joint",
    "diagonal_bases",
    "full_bases",
    "joint",
    "joint_basis",
]

Matrix = NDArray[np.float64]

_DEPENDENT = 1e-13
"""Of the largest: eigenvalues of normal equations no greater are rounding."""

_NOTHING = 1e-14
"""Of the largest: a direction that no more lies in is none of the updates'.
With it a basis would hold what chance puts there, and of an update that was
held out all."""

_SMALL_SIDE = 640
"""Up to here a side's Gram matrix is formed and decomposed: a tenth of a
second. Beyond it is multiplied with alone, as the product that it is."""

_EXACT = 1e-10


@dataclass(frozen=True, slots=True)
class Bases:
    """What updates share.

    Attributes
    ----------
    U
        (p, R), in the coordinates of the updates' core space.
    V
        (q, R).
    errors
        Share of the sum of the updates' squared norms that is missed, after
        each step: it never rises.
    converged
        Whether the last step gained no more than was asked for.
    """

    U: Matrix
    V: Matrix
    errors: tuple[float, ...]
    converged: bool


@dataclass(frozen=True, slots=True)
class Joint:
    """One of the two forms that the small matrices have.

    Attributes
    ----------
    fit
        Return the bases of a rank for some updates, from those of a start
        where there is one.
    sigma
        Return the best small matrices for given bases, (N, R, R) or (N, R).
    missed
        Return what those miss of each update of norm 1, squared.
    """

    name: str
    fit: Callable[[Small, int, Bases | None], Bases]
    sigma: Callable[[Small, Bases], Matrix]
    missed: Callable[[Small, Bases], Matrix]


def full_bases(
    updates: Small,
    rank: int,
    start: Bases | None = None,
    /,
    *,
    tolerance: float = 1e-6,
    steps: int = 100,
) -> Bases:
    r"""Return orthonormal U and V of JD-Full, to a local optimum.

    Parameters
    ----------
    updates
        One or more.
    rank
        R; on a side of the core space that has fewer, all of them.
    start
        What the steps begin with; the leading directions of
        :math:`\sum_i x_i^T x_i` where there is none.
    tolerance
        It has converged where a step lowers the error by no more.
    steps
        At most so many.

    Notes
    -----
    Minimises :math:`\sum_i \|x_i - U \Sigma_i V^T\|_F^2`, for which
    :math:`\Sigma_i = U^T x_i V` is best: U holds the leading eigenvectors of
    :math:`\sum_i x_i V V^T x_i^T`, V those of the same with U, in turn. That
    is HOOI with two of three modes (Lathauwer et al. 2000).
    """
    P, Z = updates.P, updates.Z
    first = _first(updates, rank) if start is None else start
    U, V = first.U, first.V
    errors: list[float] = []
    converged = False
    for _ in range(steps):
        U = _leading(P @ _root(Z.swapaxes(1, 2) @ V), rank, U)
        V = _leading(Z @ _root(P.swapaxes(1, 2) @ U), rank, V)
        bases = Bases(U, V, (), converged)
        errors.append(_share(_full_missed(updates, bases), updates))
        converged = len(errors) > 1 and errors[-2] - errors[-1] <= tolerance
        if converged:
            break
    return Bases(U, V, tuple(errors), converged)


def diagonal_bases(
    updates: Small,
    rank: int,
    start: Bases | None = None,
    /,
    *,
    tolerance: float = 1e-5,
    steps: int = 200,
) -> Bases:
    r"""Return U and V of JD-Diag, columns of length 1, to a local optimum.

    Parameters
    ----------
    updates
        One or more.
    rank
        R; fewer where the ranks of the updates add up to fewer, for which
        nothing is missed.
    start
        What the steps begin with.
    tolerance
        It has converged where a step lowers the error by no more.
    steps
        At most so many.

    Notes
    -----
    The problem of `full_bases` with diagonal :math:`\Sigma_i` and any U and
    V, by alternating least squares: each of the three is the best with the
    others as they are. Local optima are many. Steps may creep for hundreds
    before they gain again, as those of any tensor of rank R do: convergence
    is a standstill, no more.
    """
    P, Z = updates.P, updates.Z
    rank = min(rank, max(1, updates.rank))
    first = _strongest(updates, rank) if start is None else start
    U, V = first.U, first.V
    D = _diagonal_sigma(updates, first)
    errors: list[float] = []
    converged = False
    for _ in range(steps):
        sums = _summed(P, (Z.swapaxes(1, 2) @ V) * D[:, None])
        U = _unit(sums @ _inverse((V.T @ V) * (D.T @ D)))
        D = _diagonal_sigma(updates, Bases(U, V, (), converged))
        sums = _summed(Z, (P.swapaxes(1, 2) @ U) * D[:, None])
        V = _unit(sums @ _inverse((U.T @ U) * (D.T @ D)))
        bases = Bases(U, V, (), converged)
        D = _diagonal_sigma(updates, bases)
        errors.append(_share(_diagonal_missed(updates, bases), updates))
        converged = len(errors) > 1 and errors[-2] - errors[-1] <= tolerance
        if converged:
            break
    return Bases(U, V, tuple(errors), converged)


def joint_basis(
    space: CoreSpace,
    rank: int,
    /,
    *,
    tolerance: float = 1e-6,
    steps: int = 100,
) -> Bases:
    """Return the U (out, R) and V (in, R) of `full_bases`.

    Parameters
    ----------
    space
        The updates, which are not scaled: those of great norm count most.
    rank, tolerance, steps
        As of `full_bases`.
    """
    found = full_bases(
        small(space, unit=False), rank, tolerance=tolerance, steps=steps
    )
    U, V = space.U @ found.U, space.V @ found.V
    return Bases(U, V, found.errors, found.converged)


def joint(name: str, /) -> Joint:
    """Return the form of a name."""
    return next(each for each in _FORMS if each.name == name)


def _full_sigma(updates: Small, bases: Bases) -> Matrix:
    left = bases.U.T @ updates.P
    sigma: Matrix = left @ (updates.Z.swapaxes(1, 2) @ bases.V)
    return sigma


def _full_missed(updates: Small, bases: Bases) -> Matrix:
    """Return it as two sums of squares: what U misses, and V of the rest."""
    left = bases.U.T @ updates.P
    beside = updates.P - bases.U @ left
    right = updates.Z - bases.V @ (bases.V.T @ updates.Z)
    rest = left @ right.swapaxes(1, 2)
    missed: Matrix = _squares(beside) + _squares(rest)
    return missed


def _diagonal_sigma(updates: Small, bases: Bases) -> Matrix:
    """Return the best d of each update, (N, R)."""
    U, V = bases.U, bases.V
    best: Matrix = _beside(updates, bases) @ _inverse((U.T @ U) * (V.T @ V))
    return best


def _diagonal_missed(updates: Small, bases: Bases) -> Matrix:
    """Return ||x||^2 - <x, its best approximation>: to 1e-15 and no less."""
    kept = np.sum(
        _beside(updates, bases) * _diagonal_sigma(updates, bases), axis=1
    )
    missed: Matrix = np.maximum(0.0, _squares(updates.P) - kept)
    return missed


def _beside(updates: Small, bases: Bases) -> Matrix:
    """Return <x_i, u_r v_r^T>, (N, R)."""
    left = updates.P.swapaxes(1, 2) @ bases.U
    right = updates.Z.swapaxes(1, 2) @ bases.V
    beside: Matrix = np.sum(left * right, axis=1)
    return beside


def _strongest(updates: Small, rank: int) -> Bases:
    """Return the singular directions of the largest singular values."""
    s = np.linalg.norm(updates.P, axis=1)
    order = np.argsort(-s, axis=None, kind="stable")[:rank]
    i, j = np.unravel_index(order, s.shape)
    return Bases(_unit(updates.P[i, :, j].T), updates.Z[i, :, j].T, (), False)


def _first(updates: Small, rank: int) -> Bases:
    """Return the leading directions of the updates under one another."""
    heavy = updates.Z * np.linalg.norm(updates.P, axis=1)[:, None]
    none = np.zeros((updates.P.shape[1], 0))
    return Bases(none, _leading(heavy, rank), (), converged=False)


def _root(C: Matrix) -> Matrix:
    """Return K with K K^T = C C^T for each C (r, R), no wider than r."""
    if C.shape[2] <= C.shape[1]:
        return C
    root: Matrix = qr(C.swapaxes(1, 2))[1].swapaxes(1, 2)
    return root


def _leading(stack: Matrix, rank: int, guess: Matrix | None = None) -> Matrix:
    """Return the leading left directions of (N, p, k) side by side."""
    p = stack.shape[1]
    side = stack.swapaxes(0, 1).reshape(p, -1)
    rank = min(rank, p)
    if p <= _SMALL_SIDE or 4 * (rank + OVERSAMPLING) > p:
        found: Matrix = eigenpairs(side @ side.T, rank)[1][:, :rank]
    else:
        known = np.zeros((p, 0)) if guess is None else guess
        found = leading_eigenpairs(
            lambda X: side @ (side.T @ X),
            starting_block(known, rank + OVERSAMPLING),
            rank,
            tolerance=_EXACT,
        )[1]
    held = np.sum((side.T @ found) ** 2, axis=0)
    kept = held > _NOTHING * held.max()
    kept[0] = True
    leading: Matrix = found[:, kept]
    return leading


def _summed(F: Matrix, C: Matrix) -> Matrix:
    """Return the sum of F_i C_i, (p, R)."""
    n, p, r = F.shape
    summed: Matrix = F.swapaxes(0, 1).reshape(p, n * r) @ C.reshape(n * r, -1)
    return summed


def _inverse(G: Matrix) -> Matrix:
    """Return the pseudo-inverse of G (R, R), positive semi-definite."""
    values, Q = eigh(G)
    kept = values > _DEPENDENT * values[-1]
    inverse: Matrix = (Q[:, kept] / values[kept]) @ Q[:, kept].T
    return inverse


def _unit(F: Matrix) -> Matrix:
    """Return F with columns of length 1, or 0 as they were."""
    lengths = np.linalg.norm(F, axis=0)
    unit: Matrix = F / np.where(lengths > 0, lengths, 1.0)
    return unit


def _squares(F: Matrix) -> Matrix:
    """Return the squared norm of each F_i."""
    squares: Matrix = np.sum(F**2, axis=(1, 2))
    return squares


def _share(missed: Matrix, updates: Small) -> float:
    energy = updates.energy
    return float(missed.sum() / energy) if energy > 0 else 0.0


_FORMS = (
    Joint("jd-full", full_bases, _full_sigma, _full_missed),
    Joint("jd-diag", diagonal_bases, _diagonal_sigma, _diagonal_missed),
)
