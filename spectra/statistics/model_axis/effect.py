"""How much more the others' directions hold than chance, and how surely."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectra.statistics.model_axis.held_out import HeldOut

__all__ = [
    "LEVELS",
    "Effect",
    "eligible",
    "interval",
    "largest_effect",
    "resamples",
]

LEVELS = (1, 4, 16)
"""The k that are always reported and alone can carry a verdict."""

_LOW, _HIGH = 2.5, 97.5

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Effect:
    """Captured share less the random share, with its 95 % interval.

    Attributes
    ----------
    k
        The level at which the interval's lower end is highest.
    captured, random
        The two shares that `value` is the difference of.
    """

    k: int
    value: float
    low: float
    high: float
    captured: float
    random: float


def eligible(n_groups: int, /) -> tuple[int, ...]:
    """Return the k with as many directions outside them as inside."""
    return tuple(k for k in LEVELS if 2 * k + 1 < n_groups)


def resamples(
    n_groups: int, draws: int, rng: np.random.Generator, /
) -> Matrix:
    """Return how often each group is drawn, (draws, n_groups)."""
    chances = np.full(n_groups, 1 / n_groups)
    return rng.multinomial(n_groups, chances, size=draws).astype(float)


def largest_effect(
    sums: HeldOut | None, weights: Matrix, levels: Sequence[int], /
) -> Effect | None:
    """Return the effect whose interval starts highest, None for none.

    Parameters
    ----------
    sums
        The held-out sums.
    weights
        `resamples` of its groups.
    levels
        The k to choose from.
    """
    if sums is None or not sums.deviation.sum() > 0:
        return None
    effects = [_effect(sums, weights, k) for k in levels]
    return max(
        (effect for effect in effects if effect is not None),
        key=lambda effect: effect.low,
        default=None,
    )


def _effect(sums: HeldOut, weights: Matrix, k: int) -> Effect | None:
    column = sums.levels.index(k)
    captured, random = sums.captured[:, column], sums.random[:, column]
    if np.isnan(captured).any():
        return None
    total = sums.deviation.sum()
    shares = captured.sum() / total, random.sum() / total
    low, high = interval(captured - random, sums.deviation, weights)
    return Effect(
        k, float(shares[0] - shares[1]), low, high,
        float(shares[0]), float(shares[1]),
    )  # fmt: skip


def interval(
    part: Vector, whole: Vector, weights: Matrix, /
) -> tuple[float, float]:
    """Return the 95 % interval of sum(part) / sum(whole) over resamples."""
    totals = weights @ whole
    ratios = (weights @ part)[totals > 0] / totals[totals > 0]
    low, high = np.percentile(ratios, (_LOW, _HIGH))
    return float(low), float(high)
