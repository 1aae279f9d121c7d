"""Every member held out by itself, without a decomposition for each.

Notes
-----
With K = V L V^T and y = sqrt(L) V[i], the other N - 1 members have the scatter
L - rho y y^T around their own mean, rho = N / (N - 1), and member i lies at
rho y from it. The eigenvalues mu of the others solve the secular equation
1 = rho sum_l y_l^2 / (lambda_l - mu), one between any two neighbours of L, and
the direction of mu holds 1 / c^2 of member i, c^2 = sum_l (y_l / (lambda_l -
mu))^2. With the overall mean at b in the same coordinates, it holds
(1 / rho + sum_l y_l b_l / (lambda_l - mu))^2 / c^2 of the member as it stands.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from spectra.linalg.solvers import eigh
from spectra.statistics.vectors import Matrix, Vector

__all__ = ["LeftOut", "leave_one_out"]

_STEPS = 100

_SETTLED = 1e-9
"""Of a root: the error of the step after is the square of that."""

_ROWS = 64
"""Members whose terms stay in the processor's cache."""

_EPS = float(np.finfo(float).eps)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Each member as the N - 1 others see it, one row a member.

    Attributes
    ----------
    is_solved
        False where the others have two equal eigenvalues, or a member lies
        exactly across one direction: such rows mean nothing.
    powers
        What each of the others' leading directions holds.
    whole
        The same of the member as it stands, their mean not taken off.
    total
        What all N - 2 of them hold.
    """

    is_solved: NDArray[np.bool_]
    powers: Matrix
    whole: Matrix
    total: Vector


def leave_one_out(K: Matrix, h: Vector, count: int, /) -> LeftOut:
    """Return what the others' first `count` directions hold of each member.

    Parameters
    ----------
    K
        Inner products of N deviations that span N - 1 directions.
    h
        Those with the mean of all members.
    count
        At most N - 2.
    """
    n = len(K)
    eigenvalues, V = eigh(K)
    eigenvalues, V = eigenvalues[:0:-1], V[:, :0:-1]
    powers, whole = np.zeros((2, n, count))
    solved = np.ones(n, bool)
    gaps = eigenvalues[:count] - eigenvalues[1 : count + 1]
    if gaps.min(initial=np.inf) <= n * _EPS * eigenvalues[0]:
        return LeftOut(np.zeros(n, bool), powers, whole, np.zeros(n))
    rho = n / (n - 1)
    squares = rho * V**2 * eigenvalues
    # y_l b_l: the roots of lambda cancel.
    beside = V * (h @ V)
    for start, j in product(range(0, n, _ROWS), range(count)):
        rows = slice(start, start + _ROWS)
        gaps, solved_too = _gaps(eigenvalues, squares[rows], j)
        solved[rows] &= solved_too
        with np.errstate(divide="ignore", invalid="ignore"):
            inverse = 1 / gaps
        held = np.einsum("ij,ij,ij->i", squares[rows], inverse, inverse)
        powers[rows, j] = rho / held
        scores = 1 / rho + np.einsum("ij,ij->i", beside[rows], inverse)
        whole[rows, j] = powers[rows, j] * scores**2
    # The one direction of mu = 0 is what the others do not span.
    outside = 1 / np.sum(V**2 / eigenvalues, axis=1)
    total = rho**2 * np.sum(V**2 * eigenvalues, axis=1) - outside
    return LeftOut(solved, powers, whole, np.maximum(0.0, total))


def _gaps(
    eigenvalues: Vector, squares: Matrix, j: int
) -> tuple[Vector, NDArray[np.bool_]]:
    """Return lambda - mu of direction j of the others, (N, N - 1).

    `squares` are rho y^2. The root is sought as its distance from the nearer
    of the two eigenvalues around it, so that no digits cancel.
    """
    upper, lower = eigenvalues[j], eigenvalues[j + 1]
    half = (upper - lower) / 2
    middle = 1 - np.sum(squares / (eigenvalues - lower - half), axis=1)
    near_upper = middle > 0
    pole = np.where(near_upper, j, j + 1)
    # Signed so that the distance is positive: lambda_l - mu becomes
    # sign * (apart_l + distance).
    sign = np.where(near_upper, 1.0, -1.0)
    apart = sign[:, None] * (eigenvalues - eigenvalues[pole][:, None])
    distance, found = _roots(apart, sign[:, None] * squares, pole, half)
    return sign[:, None] * (apart + distance[:, None]), found


def _roots(
    apart: Matrix, numerators: Matrix, pole: NDArray[np.int64], half: float
) -> tuple[Vector, NDArray[np.bool_]]:
    """Return the t in (0, half] with 1 = sum_l numerator_l / (apart_l + t).

    At each step the pole's own term is taken as it is, and all the others as
    c + e / (2 half - t), the neighbour's pole with the value and the slope of
    their sum (Li 1993), inside a bracket that gets smaller. No other pole is
    nearer than half: a step as short as `_SETTLED` is off by its square.
    """
    rows, n = np.arange(len(pole)), len(pole)
    own, others = numerators[rows, pole], numerators.copy()
    others[rows, pole] = 0.0
    low, high, t = np.zeros(n), np.full(n, half), np.full(n, half / 2)
    moving = np.flatnonzero(own)
    found = np.zeros(n, bool)
    for _ in range(_STEPS):
        if not len(moving):
            break
        now, its_own = t[moving], own[moving]
        inverse = 1 / (apart[moving] + now[:, None])
        terms = others[moving] * inverse
        rest = 1 - np.sum(terms, axis=1)
        slope = np.einsum("ij,ij->i", terms, inverse)
        beyond = (now * rest - its_own) * np.sign(its_own) > 0
        high[moving] = np.where(beyond, now, high[moving])
        low[moving] = np.where(beyond, low[moving], now)
        step = _between_poles(now, its_own, rest, slope, 2 * half)
        inside = (step > low[moving]) & (step < high[moving])
        done = np.abs(step - now) <= _SETTLED * now
        middle = (low[moving] + high[moving]) / 2
        t[moving] = np.where(inside | done, step, middle)
        found[moving[done]] = True
        moving = moving[~done]
    return t, found


def _between_poles(
    t: Vector, own: Vector, rest: Vector, slope: Vector, width: float
) -> Vector:
    """Return the u in (0, width) with c + e / (width - u) = own / u.

    The left side has the value `rest` and the `slope` at t.
    """
    e = slope * (width - t) ** 2
    c = rest - slope * (width - t)
    # c u^2 - b u + own width = 0, solved without a difference of equals.
    b = c * width + e + own
    spread = np.sqrt(np.maximum(0.0, b * b - 4 * c * own * width))
    larger = (b + np.copysign(spread, b)) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        one: Vector = own * width / larger
        other = larger / c
    return np.where((one > 0) & (one < width), one, other)
