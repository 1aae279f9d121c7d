"""Mantel's test: by definition, under no relation, where there is one."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import binom, pearsonr

from spectra.align.representations import relabelled
from spectra.align.representations.mantel import mantel
from tests.reference.alignment import naive_mantel


def symmetric(rng, n, common=0.0):
    """Return two matrices of pairs, each of which shares models."""
    one, two = rng.standard_normal((2, n, 3))
    two = common * one + (1 - common) * two
    return one @ one.T, two @ two.T


def stream():
    return np.random.default_rng(1)


@pytest.mark.parametrize(("n", "common"), [(4, 0), (5, 0.5), (6, 0.3)])
def test_all_orders_by_definition(n, common):
    A, B = symmetric(np.random.default_rng(n), n, common)
    found = mantel(A, B, stream())
    assert_allclose((found.value, found.p), naive_mantel(A, B))
    assert found.is_exact


def test_both_directions_count():
    A, B = symmetric(np.random.default_rng(2), 6, 0.9)
    one, other = mantel(A, B, stream()), mantel(A, -B, stream())
    assert_allclose(other.value, -one.value)
    assert other.p == one.p < 0.05


def test_drawn_orders_are_near_all(monkeypatch):
    A, B = symmetric(np.random.default_rng(6), 6, 0.3)
    whole = mantel(A, B, stream())
    monkeypatch.setattr(relabelled, "ALL_UP_TO", 100)
    monkeypatch.setattr(relabelled, "_ENTRIES", 1000)
    some = mantel(A, B, stream())
    assert (len(whole.drawn), len(some.drawn)) == (720, relabelled.DRAWN)
    assert some.value == whole.value
    assert abs(some.p - whole.p) < 0.02


def test_the_diagonal_is_not_looked_at():
    A, B = symmetric(np.random.default_rng(6), 5)
    i, j = np.triu_indices(5, 1)
    np.fill_diagonal(A, np.nan)
    np.fill_diagonal(B, np.inf)
    found = mantel(A, B, stream())
    assert_allclose(found.value, pearsonr(A[i, j], B[i, j])[0])


def test_pairs_that_are_all_equal():
    A, _ = symmetric(np.random.default_rng(0), 5)
    found = mantel(A, np.full((5, 5), 0.2), stream())
    assert np.isnan([found.value, found.p]).all()


def test_p_is_uniform_where_that_of_pairs_alone_is_not():
    """Between binomial quantiles of 0.999; pairs share their models."""
    rng = np.random.default_rng(0)
    i, j = np.triu_indices(6, 1)
    by_models, by_pairs = [], []
    for _ in range(300):
        A, B = (np.add.outer(u, u) for u in rng.standard_normal((2, 6)))
        by_models.append(mantel(A, B, stream()).p)
        by_pairs.append(pearsonr(A[i, j], B[i, j])[1])
    low, high = binom(300, 0.05).ppf([0.001, 0.999])
    assert low <= np.count_nonzero(np.array(by_models) <= 0.05) <= high
    assert np.count_nonzero(np.array(by_pairs) <= 0.05) > high
