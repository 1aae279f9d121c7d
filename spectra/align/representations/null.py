"""What permuted items give: a null that keeps each representation whole."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from spectra.align.representations.asked import Order, Score
from spectra.backend.threads import cores, in_order
from spectra.statistics.streams import generator

__all__ = ["KEEPS", "Highest", "measured", "order_of"]

KEEPS = "each representation whole; which item is which is permuted"


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


def _evaluated(score: Score, seed: int, n: int, draw: int) -> float:
    with np.errstate(divide="ignore", invalid="ignore"):
        return score(order_of(seed, n, draw))


def order_of(seed: int, n: int, draw: int, /) -> Order:
    """Return a permutation of n items, by its number; 0 is as they stand."""
    if draw == 0:
        return np.arange(n)
    return generator(seed, "items", str(draw)).permutation(n)
