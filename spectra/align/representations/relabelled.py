"""A number of some models, beside what their other orders give.

Pairs of models are not independent of one another: a model is in many. So it
is models that are exchanged, whole.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations
from math import factorial

import numpy as np
from numpy.typing import NDArray

__all__ = ["ALL_UP_TO", "DRAWN", "Relabelled", "orders_of", "relabelled"]

Vector = NDArray[np.float64]
Orders = NDArray[np.intp]

ALL_UP_TO = 5040
"""Orders of seven models; of more, some are drawn."""

DRAWN = 9999
"""Orders that are drawn; p is then 0.0001 at least."""

_TIE = 1e-9
"""Two numbers of size 1 that differ by less are equal."""

_ENTRIES = 2**22
"""Of what is looked at together."""


@dataclass(frozen=True, slots=True)
class Relabelled:
    """A number between -1 and 1 beside those of other orders.

    Attributes
    ----------
    value
        As the models stand; NaN where it is not defined.
    drawn
        Of each order.
    is_exact
        Whether these are all orders that there are.
    """

    value: float
    drawn: Vector
    is_exact: bool

    @property
    def p(self) -> float:
        """Return the two-sided p: the share of orders as far from 0.

        Of orders that were drawn, (1 + those as far) / (1 + all).
        """
        if not np.isfinite(self.value):
            return float("nan")
        return self._reached(abs(self.value))

    @property
    def least_p(self) -> float:
        """Return the lowest p that there can be, of the orders there are."""
        if not self.is_exact:
            return 1 / (1 + len(self.drawn))
        return self._reached(float(np.abs(self.drawn).max()))

    def _reached(self, size: float) -> float:
        more = 0 if self.is_exact else 1
        reached = np.count_nonzero(np.abs(self.drawn) >= size - _TIE)
        return float((more + reached) / (more + len(self.drawn)))


def orders_of(n: int, rng: np.random.Generator, /) -> tuple[Orders, bool]:
    """Return orders of n models, one a row, and whether these are all."""
    if factorial(n) <= ALL_UP_TO:
        return np.array(list(permutations(range(n)))), True
    here = np.broadcast_to(np.arange(n), (DRAWN, n))
    return rng.permuted(here, axis=1), False


def relabelled(
    of: Callable[[Orders], Vector],
    n: int,
    rng: np.random.Generator,
    /,
    *,
    size: int,
) -> Relabelled:
    """Return a number beside those of other orders.

    Parameters
    ----------
    of
        Takes orders, one a row, and returns a number of each.
    n
        Models.
    rng
        Draws orders, where there are too many for all of them.
    size
        Numbers that are held for one order.
    """
    orders, is_exact = orders_of(n, rng)
    step = max(1, _ENTRIES // size)
    drawn = [
        of(orders[start : start + step])
        for start in range(0, len(orders), step)
    ]
    value = float(of(np.arange(n)[None])[0])
    return Relabelled(value, np.concatenate(drawn), is_exact)
