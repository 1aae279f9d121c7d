"""The nearest neighbours of every item, by blocks of rows."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.align.representations.asked import Asked, Order
from spectra.backend.threads import cores, in_order

__all__ = ["Neighbours", "nearest", "neighbours", "unit_rows"]

Array = NDArray[Any]

_BLOCK = 2**24
"""Similarities that are held at once by each worker."""

_WHOLE = 2048
"""Items up to which all similarities of a row are looked through."""


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The k nearest neighbours of each item by cosine.

    Attributes
    ----------
    items
        Their places (n, k), the nearest first; an item is none of its own.
    cosines
        Of the item with them (n, k).
    """

    items: NDArray[np.int32]
    cosines: NDArray[np.float64]

    @property
    def k(self) -> int:
        """Return how many neighbours each item has."""
        return int(self.items.shape[1])

    @property
    def nbytes(self) -> int:
        """Return the memory it takes."""
        return self.items.nbytes + self.cosines.nbytes

    def in_order(self, order: Order, /) -> "Neighbours":
        """Return the neighbours of the same items in another order.

        Permuting items permutes the places that stand for them: nothing is
        looked for again.

        Parameters
        ----------
        order
            ``order[i]`` is the place that item i had.
        """
        return Neighbours(self.items_in_order(order), self.cosines[order])

    def items_in_order(self, order: Order, /) -> NDArray[np.int32]:
        """Return the places alone: all that most metrics look at."""
        place = np.empty(len(order), np.int32)
        place[order] = np.arange(len(order), dtype=np.int32)
        found: NDArray[np.int32] = place[self.items[order]]
        return found


def neighbours(X: Array, asked: Asked, /) -> Neighbours:
    """Return the `asked.k` nearest neighbours of each row of X (n, d)."""
    return nearest(X, asked.k)


def nearest(X: Array, k: int, /) -> Neighbours:
    """Return the k nearest neighbours of each row by cosine.

    Parameters
    ----------
    X
        Features (n, d), k < n. A row of zeros is equally far from all.
    k
        How many.

    Notes
    -----
    No more than 2**24 similarities are held by a worker. Of a block of rows
    the largest similarity of each of some runs of columns is taken first: the
    k largest lie in the k runs whose largest are the largest. So a row is
    read once and hardly sorted.
    """
    n = len(X)
    U = unit_rows(X)
    rows = max(1, min(n, _BLOCK // n))
    starts = range(0, n, rows)
    items = np.empty((n, k), np.int32)
    cosines = np.empty((n, k), np.float64)
    work = partial(_of_block, U, k, rows)
    for start, found in in_order(work, starts, workers=cores()):
        items[start : start + rows], cosines[start : start + rows] = found
    return Neighbours(items, cosines)


def unit_rows(X: Array, /) -> Array:
    """Return X with rows of unit length; rows of zeros stay."""
    lengths = np.sqrt(np.einsum("ij,ij->i", X, X))[:, None]
    found: Array = X / np.where(lengths == 0, 1, lengths).astype(X.dtype)
    return found


def _of_block(U: Array, k: int, rows: int, start: int) -> tuple[Array, Array]:
    block = U[start : start + rows]
    similar = block @ U.T
    here = np.arange(len(block))
    similar[here, here + start] = -np.inf
    items = np.sort(_largest(similar, k), axis=1)
    values = np.take_along_axis(similar, items, axis=1)
    # Stable: of equals the one that comes first.
    order = np.argsort(-values, axis=1, kind="stable")
    items = np.take_along_axis(items, order, axis=1)
    return items, np.take_along_axis(values, order, axis=1)


def _largest(similar: Array, k: int) -> Array:
    """Return where each row has its k largest entries, in no order."""
    m, n = similar.shape
    width = int(np.sqrt(n / k))
    if n <= _WHOLE or width < 2:
        return np.argpartition(similar, n - k, axis=1)[:, n - k :]
    runs = n // width
    highest = similar[:, : runs * width].reshape(m, runs, width).max(axis=2)
    chosen = np.argpartition(highest, runs - k, axis=1)[:, runs - k :]
    among = chosen[:, :, None] * width + np.arange(width)
    rest = np.broadcast_to(np.arange(runs * width, n), (m, n - runs * width))
    among = np.concatenate([among.reshape(m, -1), rest], axis=1)
    values = np.take_along_axis(similar, among, axis=1)
    place = values.shape[1] - k
    best = np.argpartition(values, place, axis=1)[:, place:]
    return np.take_along_axis(among, best, axis=1)
