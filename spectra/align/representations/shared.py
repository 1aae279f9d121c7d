"""Metrics of how many, and which, nearest neighbours are the same."""

import numpy as np
from numpy.typing import NDArray

from spectra.align.representations.asked import Order, Score
from spectra.align.representations.neighbours import Neighbours

__all__ = ["cknna", "cycle_knn", "edit_knn", "lcs_knn", "mutual_knn"]

Places = NDArray[np.int32]


def mutual_knn(a: Neighbours, b: Neighbours, /) -> Score:
    """Return the share of an item's neighbours in a that it has in b too.

    The mean over items; by chance it is k / (n - 1).
    """

    def score(order: Order) -> float:
        theirs = b.items_in_order(order)
        same = sum(
            np.count_nonzero(a.items == theirs[:, [j]]) for j in range(b.k)
        )
        return float(same / a.items.size)

    return score


def cycle_knn(a: Neighbours, b: Neighbours, /) -> Score:
    """Return the share of items that a way out in b and back in a finds.

    A way leads from an item to one of its neighbours in b, and on to one of
    that item's neighbours in a.
    """
    n = len(a.items)
    here = np.arange(n, dtype=np.int32)[:, None]

    def score(order: Order) -> float:
        out = b.items_in_order(order)
        back = np.zeros(n, bool)
        for j in range(b.k):
            back |= (a.items[out[:, j]] == here).any(axis=1)
        return float(np.count_nonzero(back) / n)

    return score


def lcs_knn(a: Neighbours, b: Neighbours, /) -> Score:
    """Return how long a sequence of neighbours a and b have in one order.

    The longest common subsequence of an item's neighbours, nearest first;
    the mean over items, over k.
    """

    def score(order: Order) -> float:
        mine, theirs = _with_common(a.items, b.items_in_order(order))
        return float(_common(mine, theirs).sum()) / a.items.size

    return score


def edit_knn(a: Neighbours, b: Neighbours, /) -> Score:
    """Return 1 less the edit distance of an item's neighbours, over k.

    The mean over items; insertions, deletions and substitutions cost one.
    """

    def score(order: Order) -> float:
        mine, theirs = _with_common(a.items, b.items_in_order(order))
        spared = b.k - _edits(mine, theirs)
        return float(spared.sum()) / a.items.size

    return score


def cknna(a: Neighbours, b: Neighbours, /) -> Score:
    """Return the alignment of centred kernels on common neighbours.

    The sum, over pairs of an item and one of its neighbours in a and in b, of
    products of inner products, each less the mean of the item's own; over the
    root of that of a with itself, by that of b with itself.
    """
    scale = np.sqrt((a.centred**2).sum() * (b.centred**2).sum())

    def score(order: Order) -> float:
        moved = b.in_order(order)
        total = 0.0
        for j in range(b.k):
            rows, columns = np.nonzero(a.items == moved.items[:, [j]])
            total += float(a.centred[rows, columns] @ moved.centred[rows, j])
        return float(total / scale)

    return score


def _with_common(a: Places, b: Places) -> tuple[Places, Places]:
    """Return the rows that have an item in common: the others are quick."""
    some = np.zeros(len(a), bool)
    for j in range(b.shape[1]):
        some |= (a == b[:, [j]]).any(axis=1)
    return a[some], b[some]


def _common(a: Places, b: Places) -> NDArray[np.int32]:
    """Return the length of each row's longest common subsequence."""
    k = a.shape[1]
    last = np.zeros((k + 1, len(a)), np.int32)
    for i in range(k):
        row = np.zeros_like(last)
        for j in range(k):
            longer = last[j] + (a[:, i] == b[:, j])
            row[j + 1] = np.maximum(np.maximum(last[j + 1], row[j]), longer)
        last = row
    return last[k]


def _edits(a: Places, b: Places) -> NDArray[np.int32]:
    """Return each row's edit distance (Levenshtein 1966)."""
    k = a.shape[1]
    last = np.arange(k + 1, dtype=np.int32)[:, None].repeat(len(a), axis=1)
    for i in range(k):
        row = np.full_like(last, i + 1)
        for j in range(k):
            either = np.minimum(last[j + 1], row[j]) + 1
            row[j + 1] = np.minimum(either, last[j] + (a[:, i] != b[:, j]))
        last = row
    return last[k]
