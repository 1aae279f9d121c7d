"""Metrics of how many, and which, nearest neighbours are the same."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

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
    """Return how many neighbours a and b have in one order.

    The length of the longest common subsequence of an item's neighbours,
    nearest first; the mean over items, k at most.
    """

    def score(order: Order) -> float:
        mine, theirs = _with_common(a.items, b.items_in_order(order))
        return float(_common(mine, theirs).sum()) / len(a.items)

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
    """Return the alignment of kernels on neighbours in a and in b.

    Each kernel has the cosines of those pairs, and 0 elsewhere; alignment is
    by the estimate of `hsic` without bias (Song et al. 2012, equation 5).
    """
    own = [_without_bias(*_entries(each, each)) for each in (a, b)]
    scale = np.sqrt(own[0] * own[1])

    def score(order: Order) -> float:
        found = _without_bias(*_entries(a, b.in_order(order)))
        return float(found / scale)

    return score


def _entries(a: Neighbours, b: Neighbours) -> tuple[sparse.csr_array, ...]:
    """Return both kernels on the pairs that are neighbours in a and in b."""
    same = [np.nonzero(a.items == b.items[:, [j]]) for j in range(b.k)]
    of_b = np.repeat(np.arange(b.k), [len(rows) for rows, _ in same])
    i = np.concatenate([rows for rows, _ in same])
    of_a = np.concatenate([columns for _, columns in same])
    shape = (len(a.items), len(a.items))
    at = (i, b.items[i, of_b])
    return (
        sparse.csr_array((a.cosines[i, of_a], at), shape),
        sparse.csr_array((b.cosines[i, of_b], at), shape),
    )


def _without_bias(K: sparse.csr_array, L: sparse.csr_array) -> float:
    """Return n (n - 3) times the estimate; the kernels' diagonals are 0.

    Neither is symmetric: rows of one meet columns of the other, so that K
    with L is another number than L with K.
    """
    n = K.shape[0]
    paths = K.sum(axis=0) @ L.sum(axis=1)
    whole = K.sum() * L.sum() / ((n - 1) * (n - 2))
    return float((K * L.T).sum() + whole - 2 * paths / (n - 2))


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
