"""What is asked of a metric, and what it answers with."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Asked", "Order", "Score"]

Order = NDArray[np.intp]
"""A permutation: the i-th item is the one that stood at ``order[i]``."""

Score = Callable[[Order], float]
"""How alike two representations are, the items of the second in an order.

The value and its null are one function of it: as the items stand, and
permuted.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be measured.

    Attributes
    ----------
    metric
        Names; the default ones where there is none.
    k
        Neighbours of an item.
    draws
        Permutations of the items.
    seed
        Of these, and of what else is drawn.
    normalize
        Whether rows are scaled to unit length first.
    """

    metric: tuple[str, ...] = ()
    k: int = 10
    draws: int = 199
    seed: int = 0
    normalize: bool = False
