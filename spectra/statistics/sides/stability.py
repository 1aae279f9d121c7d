"""Whether a side's subspace is the same in halves of the population.

Asked of sums over folds of members that stand for their groups, in the few
leading joint directions that `fit` kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectra.linalg.solvers import eigh, eigvalsh
from spectra.subspaces.result import Folds

__all__ = ["SideStability", "side_stability", "split_halves"]

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]

_FEWEST = 4
_SPLITS = 50


@dataclass(frozen=True, slots=True)
class SideStability:
    """Agreement of halves of the folds.

    Attributes
    ----------
    folds
        How many there are.
    split_half
        By level: the mean over splits of tr(P_1 P_2) / k.
    davis_kahan
        At `k`: median of 2 ||S_1 - S_2|| / gap; infinite without a gap.
    k
        The level, at most 16, with the largest gap below it.
    """

    folds: int
    split_half: Vector
    davis_kahan: float
    k: int


def side_stability(
    folds: Folds | None, levels: Sequence[int], rng: np.random.Generator, /
) -> SideStability | None:
    """Return how stable a side is, None for fewer than four folds.

    Parameters
    ----------
    folds
        What `fit` kept of the side.
    levels
        The k to report.
    rng
        The side's own stream.
    """
    if folds is None or len(folds.sums) < _FEWEST:
        return None
    halves = [_halves(folds.sums, rng) for _ in range(_SPLITS)]
    overlaps = [_overlaps(*half, levels) for half in halves]
    k = _largest_gap(folds.sums.sum(axis=0))
    bounds = [_bound(*half, k) for half in halves]
    return SideStability(
        len(folds.sums), np.mean(overlaps, axis=0), float(np.median(bounds)), k
    )


def split_halves(
    sums: Matrix,
    levels: Sequence[int],
    /,
    *,
    splits: int,
    rng: np.random.Generator,
) -> Vector:
    """Return, by level, the mean over splits of tr(P_1 P_2) / k.

    Parameters
    ----------
    sums
        (F, m, m) sums over folds in common directions.
    levels
        The k; NaN for those that m cannot tell apart.
    splits
        How many random halves.
    rng
        Draws them.
    """
    if len(sums) < _FEWEST:
        return np.full(len(levels), np.nan)
    found = [_overlaps(*_halves(sums, rng), levels) for _ in range(splits)]
    return np.asarray(np.mean(found, axis=0))


def _halves(sums: Matrix, rng: np.random.Generator) -> tuple[Matrix, Matrix]:
    order = rng.permutation(len(sums))
    half = len(sums) // 2
    first, second = order[:half], order[half : 2 * half]
    return sums[first].sum(axis=0), sums[second].sum(axis=0)


def _overlaps(
    first: Matrix, second: Matrix, levels: Sequence[int]
) -> list[float]:
    U, V = eigh(np.stack((first, second)))[1][:, :, ::-1]
    squares = (U.T @ V) ** 2
    # All of a small space is the same in both halves whatever it holds.
    return [
        float(squares[:k, :k].sum() / k) if 2 * k <= len(U) else float("nan")
        for k in levels
    ]


def _largest_gap(total: Matrix) -> int:
    values = eigvalsh(total)[::-1]
    return int(np.argmax(values[:16] - np.append(values, 0.0)[1:17])) + 1


def _bound(first: Matrix, second: Matrix, k: int) -> float:
    difference = np.abs(eigvalsh(first - second)).max()
    gaps = []
    for half in (first, second):
        values = np.append(eigvalsh(half)[::-1], 0.0)
        gaps.append(values[k - 1] - values[k])
    gap = min(gaps)
    return float(2 * difference / gap) if gap > 0 else float("inf")
