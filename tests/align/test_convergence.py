"""Alignment by score: its correlation, its p, its line and band."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import binom, permutation_test, spearmanr

from spectra.align.representations.convergence import (
    POINTS,
    RESAMPLES,
    alignments,
    follows,
    line_of,
)
from spectra.align.representations.relabelled import DRAWN, orders_of
from tests.reference.alignment import naive_alignment, naive_line


def pairs(seed, n, *, scores=None, slope=0.0):
    """Return symmetric numbers of pairs, and a score of each model."""
    rng = np.random.default_rng(seed)
    scores = rng.uniform(size=n) if scores is None else np.asarray(scores)
    own = slope * scores + 0.1 * rng.standard_normal(n)
    noise = np.tril(0.05 * rng.standard_normal((n, n)))
    return own[:, None] + own + noise + noise.T, scores


def stream():
    return np.random.default_rng(1)


def test_alignment_is_the_mean_over_the_others():
    excess, _ = pairs(0, 5)
    assert_allclose(alignments(excess), naive_alignment(excess, range(5)))


@pytest.mark.parametrize("n", [4, 5, 6])
def test_p_of_few_models_is_of_all_orders(n):
    excess, scores = pairs(n, n, slope=0.1)
    x = alignments(excess)
    found = follows(x, scores, stream())
    expected = permutation_test(
        (x,), lambda y: spearmanr(y, scores)[0],
        permutation_type="pairings", n_resamples=np.inf,
    )  # fmt: skip
    assert_allclose(found.value, expected.statistic, atol=1e-12)
    assert_allclose(found.p, expected.pvalue)
    assert len(found.drawn) == {4: 24, 5: 120, 6: 720}[n]
    assert_allclose(found.least_p, 2 / len(found.drawn))


def test_p_of_many_models_is_of_drawn_orders():
    excess, scores = pairs(1, 12, slope=0.2)
    x = alignments(excess)
    found = follows(x, scores, stream())
    rho, p = spearmanr(x, scores)
    assert_allclose(found.value, rho)
    assert len(found.drawn) == DRAWN
    assert abs(found.p - p) < 0.01
    assert_allclose(found.least_p, 1 / (1 + DRAWN))
    exact = np.arange(12.0)
    assert follows(exact, exact, stream()).p == found.least_p


def test_orders_are_each_once_or_drawn():
    orders, is_exact = orders_of(5, stream())
    assert is_exact
    assert len({tuple(order) for order in orders}) == 120
    orders, is_exact = orders_of(8, stream())
    assert not is_exact
    assert orders.shape == (DRAWN, 8)
    assert (np.sort(orders, axis=1) == np.arange(8)).all()
    assert_allclose(orders.mean(axis=0), np.full(8, 3.5), atol=0.15)


def test_ties_count_as_reaching():
    """Two of four scores are equal: pairs of orders are one."""
    x, y = np.array([1.0, 2, 3, 4]), np.array([0.0, 0, 1, 2])
    found = follows(x, y, stream())
    assert_allclose(found.value, spearmanr(x, y)[0])
    assert found.p == found.least_p == 4 / 24


def test_models_that_are_all_aligned_alike():
    found = follows(np.full(5, 0.3), np.arange(5.0), stream())
    assert np.isnan([found.value, found.p]).all()


def test_p_without_a_relation_is_uniform_though_pairs_are_shared():
    """Between binomial quantiles of 0.999."""
    ps = [
        follows(alignments(E), s, stream()).p
        for E, s in (pairs(seed, 6) for seed in range(300))
    ]
    for level in (0.05, 0.3):
        low, high = binom(300, level).ppf([0.001, 0.999])
        assert low <= np.count_nonzero(np.array(ps) <= level) <= high


def test_the_line_and_its_band():
    """Resample by resample, the copies written out."""
    excess, scores = pairs(3, 6, slope=0.5, scores=[0, 0, 1, 1, 1, 3])
    found = line_of(excess, scores, stream())
    assert_allclose(
        (found.slope, found.intercept), naive_line(excess, scores, range(6))
    )
    heights = []
    for often in stream().multinomial(6, np.full(6, 1 / 6), size=RESAMPLES):
        models = np.repeat(np.arange(6), often)
        if len(set(models)) < 3 or len(set(scores[models])) < 2:
            continue
        slope, intercept = naive_line(excess, scores, models)
        heights.append(slope * found.at + intercept)
    assert len(heights) < RESAMPLES
    low, high = np.percentile(heights, [2.5, 97.5], axis=0)
    assert_allclose(found.low, low, atol=1e-12)
    assert_allclose(found.high, high, atol=1e-12)
    assert len(found.at) == POINTS
    assert (found.at[0], found.at[-1]) == (0, 3)


def test_the_diagonal_is_not_looked_at():
    excess, scores = pairs(3, 6)
    other = excess + np.diag(np.full(6, np.inf))
    one, two = (line_of(E, scores, stream()) for E in (excess, other))
    assert_allclose(one.high, two.high)
    assert_allclose(alignments(excess), alignments(other))


@pytest.mark.slow
def test_the_band_of_eight_models_is_somewhat_narrow():
    """Where it should hold 95 % of a true line, as the page says."""
    held = []
    for seed in range(400):
        found = line_of(*pairs(seed, 8, slope=0.5), stream())
        true = 0.5 * found.at + 0.25
        held.append(np.mean((found.low <= true) & (true <= found.high)))
    assert 0.8 < np.mean(held) < 0.9
