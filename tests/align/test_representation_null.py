"""Nulls: where nothing is in common, where something is, and of a highest."""

from itertools import combinations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import binom, kstest

from spectra.align.representations.asked import Asked
from spectra.align.representations.metrics import METRICS
from spectra.align.representations.null import (
    Highest,
    adjusted,
    measured,
    order_of,
)
from tests.align.test_representations import BY_NAME, compared, features
from tests.reference.alignment import naive_adjusted

DRAWS = 19


def evaluated(name, X, Y, *, place=(0, 0), seed=0, draws=DRAWS, k=4):
    metric = BY_NAME[name]
    a, b = (metric.prepare(Z, Asked(k=k)) for Z in (X, Y))
    return measured(
        metric.compare(a, b), place, len(X), draws=draws, seed=seed,
        told=lambda: None,
    )  # fmt: skip


def independent(seed, n=24, widths=(5, 6)):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((n, d)) for d in widths]


@pytest.mark.parametrize(
    "name",
    [
        "cka",
        "cka-debiased",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("cknna", "procrustes", "rsa", "relative")
        ),
    ],
)
def test_p_of_independent_features_is_uniform(name):
    """Each p is one of 1/20, ..., 1: spread over its step it is uniform."""
    rng = np.random.default_rng(1)
    ps = np.array(
        [evaluated(name, *independent(i), seed=i).p for i in range(200)]
    )
    assert set(np.round(ps * 20).astype(int)) <= set(range(1, 21))
    spread = ps - rng.uniform(size=len(ps)) / 20
    assert kstest(spread, "uniform").pvalue > 0.01
    assert (ps <= 0.05).mean() < 0.1


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_common_part_is_found(metric):
    found = [
        evaluated(metric.name, *features(i, common=3, n=100)).p
        for i in range(10)
    ]
    assert np.mean(np.array(found) <= 0.05) == 1


@pytest.mark.parametrize("n", [16, 32])
def test_debiased_alignment_of_independent_features_is_about_zero(n):
    """Where the biased one is far from it: n below the width (F17)."""
    pairs = [independent(i, n, (50, 60)) for i in range(40)]
    biased = np.mean([compared("cka", *pair) for pair in pairs])
    debiased = [compared("cka-debiased", *pair) for pair in pairs]
    error = np.std(debiased) / np.sqrt(len(pairs))
    assert biased > 0.6
    assert abs(np.mean(debiased)) < 3 * error < 0.05


def test_a_null_has_the_bias_of_its_value():
    """So that the excess of the biased metric is about zero too."""
    excess = []
    for i in range(40):
        found = evaluated("cka", *independent(i, 32, (50, 60)))
        excess.append(found.value - found.null_mean)
    assert abs(np.mean(excess)) < 0.01


def test_neighbours_meet_by_chance_as_often_as_expected():
    """k / (n - 1), as science has it."""
    X, Y = independent(0, n=101, widths=(8, 8))
    found = evaluated("mutual-knn", X, Y, draws=399, k=10)
    assert_allclose(found.null_mean, 0.1, atol=0.002)


def test_the_highest_of_layers_has_a_null_of_the_highest():
    """Four layers of noise by four: p stays uniform, the parts' does not."""
    ps, least = [], []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        layers = [rng.standard_normal((4, 24, 5)) for _ in range(2)]
        parts = [
            evaluated("cka-debiased", x, y, place=(i, j), seed=seed)
            for i, x in enumerate(layers[0])
            for j, y in enumerate(layers[1])
        ]
        whole = parts[0]
        for part in parts[1:]:
            whole = whole.joined(part)
        best = max(parts, key=lambda part: part.value)
        assert (whole.value, whole.place) == (best.value, best.place)
        draws = np.max([part.draws for part in parts], axis=0)
        assert_allclose(whole.draws, draws)
        ps.append(whole.p)
        least.append(best.p)
    assert np.mean(np.array(ps) <= 0.1) < 0.25
    assert np.mean(np.array(least) <= 0.1) > 0.5


def test_p_counts_draws_that_reach_the_value():
    """An order that happens to be the identity is one of them."""
    found = measured(
        lambda order: float(order[0]), (0, 0), 4, draws=39, seed=0,
        told=lambda: None,
    )  # fmt: skip
    assert found.value == 0
    assert found.p == 1
    assert found.null_high == 3


def test_draws_are_of_the_seed():
    X, Y = independent(0)
    one, same, other = (
        evaluated("cka", X, Y, seed=seed).draws for seed in (3, 3, 4)
    )
    assert_allclose(one, same, rtol=0)
    assert not np.allclose(one, other)


# p adjusted for the number of pairs.


def highest(value, draws):
    return Highest({(0, 0): value}, np.asarray(draws, float))


def test_adjusted_p_by_definition():
    """Pairs of other sizes, whose draws go together."""
    rng = np.random.default_rng(0)
    common = rng.standard_normal(39)
    draws = [s * (common + rng.standard_normal(39)) for s in (1, 50, 1e-4)]
    values = [2.9, 60, 3e-4]
    found = adjusted(list(map(highest, values, draws)))
    assert_allclose(found, naive_adjusted(values, draws))
    assert len(set(found)) > 1


def test_one_pair_has_nothing_to_be_adjusted_for():
    for seed in range(5):
        pair = evaluated("mutual-knn", *independent(seed), seed=seed)
        assert adjusted([pair]) == [pair.p]


def test_draws_that_are_all_equal_show_nothing():
    flat = highest(0.5, np.full(19, 0.5))
    assert adjusted([flat, highest(9, np.arange(-19, 0))]) == [1, 0.05]


def family(seed, *alike, n=24):
    """Return the pairs of four models that have nothing in common.

    But for some pairs of places, which are not among those returned.
    """
    features = independent(seed, n, (5,) * 4)
    noise = np.random.default_rng([seed, 1])
    for i, j in alike:
        features[j] = features[i] + 0.05 * noise.standard_normal((n, 5))
    metric = BY_NAME["cka-debiased"]
    models = [metric.prepare(X, Asked()) for X in features]
    orders = [order_of(seed, n, draw) for draw in range(1 + DRAWS)]
    found, is_null = [], []
    for i, j in combinations(range(4), 2):
        score = metric.compare(models[i], models[j])
        value, *draws = map(score, orders)
        found.append(highest(value, draws))
        is_null.append((i, j) not in alike)
    p = [pair.p for pair in found]
    return np.array([p, adjusted(found)])[:, is_null].min(axis=1)


def false_pairs(sets, *alike):
    """Return in how many sets any pair has p up to 0.05: alone, adjusted."""
    least = np.array([family(seed, *alike) for seed in range(sets)])
    return np.count_nonzero(least <= 0.05, axis=0)


def test_the_chance_of_one_false_pair_stays():
    """With as few draws as there may be; below the quantile of 0.999."""
    alone, together = false_pairs(60)
    assert together <= binom(60, 0.05).ppf(0.999) < alone


@pytest.mark.slow
@pytest.mark.parametrize(
    "alike", [(), ((0, 1),), ((0, 2),), ((0, 1), (2, 3)), ((0, 2), (1, 3))]
)
def test_it_stays_where_other_pairs_are_alike(alike):
    alone, together = false_pairs(400, *alike)
    assert together <= binom(400, 0.05).ppf(0.999)
    assert alone > together
    if not alike:
        assert together >= binom(400, 0.05).ppf(0.001)
