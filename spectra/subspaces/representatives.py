"""One member of each group of a layer, dealt into folds.

Sides are judged on members that are independent as far as the layer's own
weights say, with the thresholds at which `overlap` groups by default.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

__all__ = ["FOLDS", "deal"]

FOLDS = 20

_START = 0.3
_ALIKE = {"dense": 0.9, "low-rank": 0.5, "difference": 0.5}

Float = NDArray[np.float64]


def deal(
    gram: Float,
    initial: Float | None,
    kind: str,
    names: Sequence[str],
    /,
) -> NDArray[np.int64]:
    """Return each member's fold, -1 where another stands for it.

    Parameters
    ----------
    gram
        N x N uncentred inner products of the maps.
    initial
        The same of the raw factors A; None for full weights.
    kind
        Of the layer.
    names
        Of the members, so that their order does not matter.
    """
    alike = _cosines(gram) > _ALIKE[kind]
    if initial is not None:
        alike |= _cosines(initial) > _START
    _, groups = connected_components(alike, directed=False)
    order = sorted(range(len(names)), key=names.__getitem__)
    first = {int(groups[i]): i for i in reversed(order)}
    folds = np.full(len(names), -1)
    chosen = sorted(first.values(), key=names.__getitem__)
    for place, i in enumerate(chosen):
        folds[i] = place % FOLDS
    return folds


def _cosines(products: Float) -> Float:
    norms = np.sqrt(np.maximum(0.0, np.diagonal(products)))
    scale = np.outer(norms, norms)
    cosines = np.zeros_like(products)
    np.divide(products, scale, out=cosines, where=scale > 0)
    return cosines
