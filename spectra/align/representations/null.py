"""What permuted items give: a null that keeps each representation whole."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from spectra.align.representations.asked import Order, Score
from spectra.backend.threads import cores, in_order
from spectra.statistics.streams import generator

__all__ = ["KEEPS", "Highest", "adjusted", "measured", "order_of"]

KEEPS = "each representation whole; which item is which is permuted"

_TIE = 1e-9
"""Two values that differ by less are equal."""


@dataclass(frozen=True, slots=True)
class Highest:
    """The highest of some values, beside the highest of each draw's.

    Attributes
    ----------
    values
        By their place, such as (layer of a, layer of b).
    draws
        Of each permutation the highest value of any place.
    """

    values: dict[tuple[int, int], float]
    draws: NDArray[np.float64]

    @property
    def place(self) -> tuple[int, int]:
        """Return where the highest value is, the first of equals."""
        return max(self.values, key=lambda place: self.values[place])

    @property
    def is_defined(self) -> bool:
        """Return whether no value is a division by zero."""
        values = [*self.values.values(), *self.draws]
        return bool(np.isfinite(values).all())

    @property
    def value(self) -> float:
        """Return it."""
        return self.values[self.place]

    @property
    def null_mean(self) -> float:
        """Return the mean of the draws."""
        return float(self.draws.mean())

    @property
    def null_high(self) -> float:
        """Return the highest of the draws."""
        return float(self.draws.max())

    @property
    def p(self) -> float:
        """Return (1 + draws that reach the value) / (1 + draws)."""
        reached = np.count_nonzero(self.draws >= self.value)
        return float((1 + reached) / (1 + len(self.draws)))

    def standardised(self) -> tuple[float, NDArray[np.float64]]:
        """Return z of the value and of each draw, among all of them.

        The value is one of them where nothing is in common: of few draws,
        their own mean and spread would set it apart.
        """
        all_of_them = np.array([self.value, *self.draws])
        spread = all_of_them.std()
        if spread < _TIE:
            return 0.0, np.zeros_like(self.draws)
        z = (all_of_them - all_of_them.mean()) / spread
        return float(z[0]), z[1:]

    def joined(self, other: "Highest", /) -> "Highest":
        """Return the highest of both; their draws are of one permutation."""
        return Highest(
            self.values | other.values, np.maximum(self.draws, other.draws)
        )


def measured(
    score: Score,
    place: tuple[int, int],
    n: int,
    /,
    *,
    draws: int,
    seed: int,
    told: Callable[[], None],
) -> Highest:
    """Return how alike two representations are, and beside it permuted.

    Parameters
    ----------
    score
        Of a metric.
    place
        What it is of.
    n
        Items.
    draws, seed
        How many permutations; they are the same for the same seed and n, so
        that the highest of several scores has a null.
    told
        Called after each evaluation.
    """
    work = partial(_evaluated, score, seed, n)
    found = []
    for _, value in in_order(work, range(draws + 1), workers=cores()):
        found.append(value)
        told()
    return Highest({place: found[0]}, np.array(found[1:]))


def adjusted(pairs: Sequence[Highest], /) -> list[float]:
    """Return each pair's p, adjusted for their number.

    Westfall and Young's max-T in one step: a pair's z against the highest z
    of any pair in each draw, which is one permutation for all of them.
    """
    scores = [pair.standardised() for pair in pairs]
    highest = np.max([drawn for _, drawn in scores], axis=0)
    reached = [np.count_nonzero(highest >= z - _TIE) for z, _ in scores]
    return [float((1 + each) / (1 + len(highest))) for each in reached]


def _evaluated(score: Score, seed: int, n: int, draw: int) -> float:
    with np.errstate(divide="ignore", invalid="ignore"):
        return score(order_of(seed, n, draw))


def order_of(seed: int, n: int, draw: int, /) -> Order:
    """Return a permutation of n items, by its number; 0 is as they stand."""
    if draw == 0:
        return np.arange(n)
    return generator(seed, "items", str(draw)).permutation(n)
