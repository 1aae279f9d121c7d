"""Nulls: where nothing is in common, where something is, and of a highest."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import kstest

from spectra.align.representations.asked import Asked
from spectra.align.representations.metrics import METRICS
from spectra.align.representations.null import measured
from tests.align.test_representations import BY_NAME, compared, features

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
