"""A spectrum beside that of the same entries in random order."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial.distance import jensenshannon

from spectra.linalg.spectrum import Certificate, Spectrum, of_matrix
from spectra.statistics.spectrum.marchenko_pastur import (
    LEVEL,
    fit_mp,
    mp_edges,
    noise_reach,
)
from spectra.statistics.spectrum.permuted import (
    RANDOMISED,
    beside_permuted,
    not_permuted,
)

SHAPES = [(60, 60), (40, 160), (160, 40)]


def permuted(W, rng):
    return rng.permutation(W.reshape(-1)).reshape(W.shape)


def compared(W, P):
    return beside_permuted(of_matrix(W), of_matrix(P), W.shape)


def of_values(s):
    values = np.array(s, dtype=np.float64)
    return Spectrum(values, 0.0, np.eye(4), Certificate("svd", 0.0, 0.0))


@pytest.mark.parametrize("shape", SHAPES)
def test_every_number_is_its_definition(shape):
    rng = np.random.default_rng(0)
    W = rng.standard_normal(shape) + np.outer(*map(np.ones, shape))
    P = permuted(W, rng)
    found = compared(W, P)
    assert tuple(found) == RANDOMISED
    s, r = (np.linalg.svd(X, compute_uv=False) for X in (W, P))
    law = fit_mp(r, shape)
    k = law.num_spikes
    reach = noise_reach(law.sigma, shape[0] - k, shape[1] - k)
    expected = {
        "max_rand_eval": r[0] ** 2,
        "rand_distance": jensenshannon(s**2, r**2),
        "rand_num_spikes": k,
        "rand_sigma_mp": law.sigma_mp,
        "rand_mp_softrank": law.mp_softrank,
        "ww_softrank": (r[0] / s[0]) ** 2,
        "ww_maxdist": s[0] ** 2 - r[0] ** 2,
        "num_above_rand": np.count_nonzero(s > reach),
    }
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert_allclose(found[key], value, rtol=1e-9, err_msg=key)
    # The mean of the entries is a direction that any order leaves.
    assert found["rand_num_spikes"] == found["num_above_rand"] == 1


def squares(m, n):
    i = np.arange(m * n)
    return (i * i % 97 - 48.0).reshape(m, n)


def signed(m, n):
    rows = np.where(np.arange(m) % 2, 1, -1)
    return squares(m, n) + 25 * np.outer(
        rows, np.where(np.arange(n) % 3, 1, -1)
    )


@pytest.mark.parametrize(
    ("W", "theirs"),
    [
        (squares(60, 90), (272735.6574645981, 0.03738960255520303,
                           0.8164563591633742, 61312.395935428445)),
        (signed(64, 64), (2597805.492106655, 0.03980244071015919,
                          1.0047950782572725, -12397.234920207877)),
    ],
)  # fmt: skip
def test_weightwatcher_has_the_same_numbers_of_the_same_order(W, theirs):
    """What 0.7.7 finds where its shuffle puts the entries in this order."""
    order = np.arange(W.size) * 1009 % W.size
    P = W.reshape(-1)[order].reshape(W.shape)
    found = compared(W, P)
    names = ("max_rand_eval", "rand_distance", "ww_softrank", "ww_maxdist")
    for name, value in zip(names, theirs, strict=True):
        assert found[name] == pytest.approx(value, rel=1e-9), name


@pytest.mark.parametrize("shape", SHAPES)
def test_noise_has_nothing_above_its_own_entries(shape):
    rng = np.random.default_rng(1)
    above = []
    for _ in range(200):
        W = rng.standard_normal(shape)
        above.append(compared(W, permuted(W, rng))["num_above_rand"])
    # One in a hundred, by the level of the law; of 200, five.
    assert np.count_nonzero(above) <= 7
    assert max(above) <= 1


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("k", [1, 3])
def test_planted_directions_are_above_and_large_entries_are_not(shape, k):
    rng = np.random.default_rng(2)
    noise, (m, n) = rng.standard_normal(shape), shape
    U = np.linalg.qr(rng.standard_normal((m, k)))[0]
    V = np.linalg.qr(rng.standard_normal((n, k)))[0]
    W = noise + 3 * (math.sqrt(m) + math.sqrt(n)) * U @ V.T
    found = compared(W, permuted(W, rng))
    assert (found["num_above_rand"], found["rand_num_spikes"]) == (k, 0)
    assert found["ww_softrank"] < 0.5
    # As many of entries that large: the order of entries changes nothing.
    W = noise.copy()
    W[np.arange(k), np.arange(k)] = 3 * (math.sqrt(m) + math.sqrt(n))
    found = compared(W, permuted(W, rng))
    assert (found["num_above_rand"], found["rand_num_spikes"]) == (k, k)
    assert found["ww_softrank"] == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("shape", SHAPES)
def test_one_in_a_hundred_reaches_beyond_the_edge_of_noise(shape):
    rng = np.random.default_rng(3)
    first = np.array([
        np.linalg.norm(rng.standard_normal(shape), 2) for _ in range(1000)
    ])  # fmt: skip
    beyond = np.count_nonzero(first > noise_reach(1.0, *shape))
    assert abs(beyond - 1000 * LEVEL) <= 3 * math.sqrt(1000 * LEVEL)
    assert noise_reach(2.0, *shape) == 2 * noise_reach(1.0, *shape)
    assert noise_reach(1.0, *shape) > mp_edges(1.0, *shape)[1]


def test_the_edge_is_that_of_what_spikes_leave():
    """Five of the permuted matrix: its noise has five rows, columns less."""
    shape = (30, 30)
    W = np.random.default_rng(5).standard_normal(shape)
    r = np.linalg.svd(W, compute_uv=False)
    r[:5] = 60, 55, 50, 45, 40
    law = fit_mp(r, shape)
    assert law.num_spikes == 5
    reach = noise_reach(law.sigma, 25, 25)
    for share, above in ((1.01, 3), (0.99, 2)):
        own = of_values([80, 70, share * reach])
        found = beside_permuted(own, of_values(r), shape)
        assert found["num_above_rand"] == above


def test_an_update_is_compared_with_all_its_values():
    """Two values of six; the others are zero, and no value is above them."""
    whole = of_values([4.0, 3.0, 2.0, 1.0, 1.0, 1.0])
    padded = beside_permuted(of_values([5, 2, 0, 0, 0, 0]), whole, (6, 8))
    assert beside_permuted(of_values([5, 2]), whole, (6, 8)) == padded
    p = np.array([25, 4, 0, 0, 0, 0]) / 29
    distance = jensenshannon(p, np.array([16, 9, 4, 1, 1, 1]) / 32)
    assert padded["rand_distance"] == pytest.approx(distance)


def test_what_rounding_has_made_is_not_above():
    """A constant matrix has no noise in any order."""
    W = np.full((30, 20), 0.1)
    found = compared(W, W)
    assert found["num_above_rand"] == 1
    assert found["rand_distance"] == 0


def test_lists_that_hardly_differ_have_a_distance():
    """Rounding puts the sum of the logarithms below zero."""
    s = np.sort(np.random.default_rng(4).random(50))[::-1]
    for eps in (1e-16, 1e-12, 1e-9):
        moved = np.sort(s * (1 + eps * np.cos(np.arange(50))))[::-1]
        found = beside_permuted(of_values(s), of_values(moved), (50, 50))
        assert 0 <= found["rand_distance"] < 1e-7


def test_of_zeros_there_is_nothing_to_compare():
    found = compared(np.zeros((4, 5)), np.zeros((4, 5)))
    assert found == not_permuted("all weights are zero")
    for name in RANDOMISED:
        assert found[name] is None
        assert found[f"{name}_reason"] == "all weights are zero"
