"""What 100,000 items of 384 features take, as the system counts it."""

import pytest

from benchmarks.alignment import ITEMS, WIDTH, K, aligned

pytestmark = pytest.mark.slow

MOST = 2 * 2**30

BY_ITEM = 8 * ITEMS * K * 12
"""What is kept of each item's neighbours, places and inner products: of both
models, once more while they are gathered, and of a draw a thread."""


def test_neighbours_of_as_many_features(tmp_path):
    """A tenth of the items, each ten times as wide, in a tenth of the time.

    Features, and the copy of them with rows of unit length, take the same
    bytes; a block of similarities is 2**24 of them for any number of items;
    the rest is by item, and is counted as if none of it were here.
    """
    words = "--metric", "mutual-knn", "--draws", "19"
    _, peak = aligned(tmp_path, ITEMS // 10, 10 * WIDTH, *words)
    assert peak + BY_ITEM < MOST


def test_covariances_of_as_many_items(tmp_path):
    words = "--metric", "cka-debiased", "--draws", "19"
    _, peak = aligned(tmp_path, ITEMS, WIDTH, *words)
    assert peak < MOST
