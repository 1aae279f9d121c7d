r"""Where the increments of a training run begin to go another way.

Kernel change-point detection with the linear kernel: increments are scaled to
length 1, and a segment of them is divided where the two parts' means leave the
smallest sum of squares (Harchaoui and Cappé 2007; Arlot, Celisse and
Harchaoui 2019). Only their Gram matrix is needed. Whether a division is one is
told by permutations of the segment's increments in time, as binary
segmentation goes on with both parts (Vostrikova 1981).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import NDArray

from spectra.statistics.vectors import centred

__all__ = ["CITE", "FEWEST", "KEEPS", "Split", "changes"]

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

KEEPS = "a segment's increments, of length 1; their order in time is random"
"""What the draws have in common with the training run."""

CITE = "Pitman 1937; Harchaoui and Cappé 2007"

_PART = 3
"""Increments in a part: the direction of one or two is any step's."""

FEWEST = 2 * _PART
"""Increments that a segment needs to be tested."""

_TIE = 1e-9
"""Gains closer than this, in shares of the segment, are rounding of one
number. Draws that reach the observed one so are counted."""


@dataclass(frozen=True, slots=True)
class Split:
    """The best division of one segment of increments.

    Attributes
    ----------
    start, stop
        The segment's increments are those from `start` to before `stop`.
    at
        The first increment of the second part.
    explained
        Share of the sum of squares about the segment's mean that lies between
        the parts.
    p
        By permutations of this segment.
    least_p
        What p would be of the clearest change, over all orders, and no less
        than the draws resolve.
    """

    start: int
    stop: int
    at: int
    explained: float
    p: float
    least_p: float


def changes(
    M: Matrix, /, *, draws: int, alpha: float, rng: np.random.Generator
) -> tuple[Split, ...]:
    r"""Return the division of each segment that was tested, in their order.

    Parameters
    ----------
    M
        n x n inner products of increments of length 1, in order of time.
    draws
        Permutations of each segment.
    alpha
        A segment whose p is at most this is divided, and both parts are
        tested if they are long enough. It bounds the chance of any division
        where increments are exchangeable; with each true change two more
        segments are tested.
    rng
        Where permutations are from.

    Notes
    -----
    With :math:`S_c` the sum of the first c of m increments less their mean,
    the division after them lowers the sum of squares by
    :math:`\|S_c\|^2\, m / (c (m - c))`, whose mean over permutations is the
    same for every c.
    """

    def test(start: int, stop: int) -> Split:
        return _tested(M[start:stop, start:stop], start, draws, rng)

    return tuple(_divided(0, len(M), test, alpha))


def _divided(
    start: int, stop: int, test: Callable[[int, int], Split], alpha: float
) -> Iterator[Split]:
    if stop - start < FEWEST:
        return
    split = test(start, stop)
    if split.p > alpha:
        yield split
        return
    yield from _divided(start, split.at, test, alpha)
    yield split
    yield from _divided(split.at, stop, test, alpha)


def _tested(
    M: Matrix, start: int, draws: int, rng: np.random.Generator
) -> Split:
    m, C = len(M), centred(M)
    observed = _gains(C)
    best = int(np.argmax(observed))
    reached = observed[best] - _TIE * m
    drawn = 0
    for _ in range(draws):
        order = rng.permutation(m)
        drawn += bool(_gains(C[np.ix_(order, order)]).max() >= reached)
    scatter = float(np.trace(C))
    return Split(
        start=start,
        stop=start + m,
        at=start + _PART + best,
        explained=float(observed[best]) / scatter if scatter > _TIE * m else 0,
        p=(1 + drawn) / (1 + draws),
        least_p=max(1 / (1 + draws), 2 / comb(m, m // 2)),
    )


def _gains(C: Matrix) -> Vector:
    """Return by how much each division lowers the sum of squares."""
    m = len(C)
    c = np.arange(1, m + 1)
    # Sums over leading blocks: each row adds itself twice, its corner once.
    leading = np.cumsum(2 * np.tril(C).sum(axis=1) - np.diagonal(C))
    kept = slice(_PART - 1, m - _PART)
    gains: Vector = leading[kept] * m / (c[kept] * (m - c[kept]))
    return gains
