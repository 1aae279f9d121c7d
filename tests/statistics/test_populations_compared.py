"""Two populations against explicit vectors, SciPy, and planted truths."""

import json

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.linalg import subspace_angles

from spectra.core.errors import UsageError
from spectra.core.settings import OverlapSettings
from spectra.statistics.kinship.groups import start_thresholds
from spectra.statistics.kinship.population import groupings_of
from spectra.statistics.kinship.relations import relate
from spectra.statistics.populations.angles import Pair
from spectra.statistics.populations.comparison import SCHEMA, compare
from spectra.statistics.populations.crossed import (
    _with_means,
    cross,
    divisions_of,
)
from spectra.statistics.populations.layer import compare_layer, populations_of
from spectra.statistics.populations.likeness import MEANINGS, likeness
from spectra.statistics.vectors import Deviations, centred, deviation_norms
from tests.reference.naive import naive_fit
from tests.statistics.planted import fit_of

LEVELS = (1, 2, 4)
GROUPS = (0, 0, 1, 2, 3, 4, 4, 5, 6, 7, 7, 7, 8, 9, 10, 11)
"""Of 7 members of a and 9 of b."""


def axis_of(X, floor=1e-9):
    K = centred(X @ X.T)
    return Deviations(
        members=tuple(range(len(X))),
        K=K,
        eigenvalues=np.linalg.eigvalsh(K)[:0:-1],
        floor=floor,
        squared_norms=deviation_norms(K),
        energies=np.sum(X**2, axis=1),
        mean_fraction=None,
        size=X.shape[1],
    )


def crossed(X, n, labels=None, *, levels=LEVELS, draws=0, seed=0):
    """Return the crossing of the first n rows and the others."""
    labels = np.arange(len(X)) if labels is None else np.array(labels)
    rng = np.random.default_rng(seed)
    return cross(
        axis_of(X),
        (range(n), range(n, len(X))),
        labels,
        levels=levels,
        divisions=divisions_of(labels, n, draws, rng),
    )


def population(rng, n, size=60):
    X = rng.standard_normal((n, size))
    X[:, :3] *= 4
    return X + 2 * rng.standard_normal(size)


def two(seed=0, sizes=(7, 9), size=60):
    rng = np.random.default_rng(seed)
    return np.vstack([population(rng, n, size) for n in sizes])


def basis(X, k=None):
    """Return the leading directions of the deviations, as columns."""
    _, s, Vh = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)
    return Vh[s > 1e-9 * s[0]][:k].T


def held(X, U):
    """Return what each member of X has in the span of U, squared."""
    return np.sum(((X - X.mean(axis=0)) @ U) ** 2, axis=1)


# Against explicit vectors.


def test_angles_are_those_of_scipy():
    X, n = two(), 7
    found = crossed(X, n)
    for j, k in enumerate(LEVELS):
        U, V = basis(X[:n], k), basis(X[n:], k)
        cosines = np.cos(subspace_angles(U, V))
        assert_allclose(found.cosines[j], np.sort(cosines)[::-1])
        overlap = np.trace(U @ U.T @ V @ V.T) / k
        assert_allclose(found.overlap.observed[j], overlap)


def test_what_is_held_is_what_projections_give():
    X, n = two(), 7
    labels = np.array(GROUPS)
    found = crossed(X, n, GROUPS)
    a, b = (X[:n], labels[:n]), (X[n:], labels[n:])
    for way, (one, _), (other, groups) in (
        (found.of_b, a, b), (found.of_a, b, a),
    ):  # fmt: skip
        sums, whole = way.sums, held(other, np.eye(60))
        for row, group in enumerate(dict.fromkeys(groups)):
            own = groups == group
            assert_allclose(sums.deviation[row], whole[own].sum())
            assert_allclose(sums.energy[row], np.sum(other[own] ** 2))
            for j, k in enumerate(LEVELS):
                first, both = (
                    held(other, basis(one, m))[own].sum() for m in (k, 2 * k)
                )
                assert_allclose(sums.captured[row, j], first)
                if 2 * k < len(one):
                    assert_allclose(sums.secondary[row, j], both - first)
                else:
                    assert np.isnan(sums.secondary[row, j])
        for j, k in enumerate(LEVELS):
            share = held(other, basis(one, k)).sum() / whole.sum()
            assert_allclose(way.captured.observed[j], share)


@pytest.mark.parametrize("way", ["of_b", "of_a"])
def test_random_is_the_average_of_random_subspaces_of_the_others_span(way):
    X, n, k = two(), 7, 2
    rng = np.random.default_rng(1)
    one, other = (X[:n], X[n:]) if way == "of_b" else (X[n:], X[:n])
    in_span = (other - other.mean(axis=0)) @ basis(one)
    taken = []
    for _ in range(4000):
        Q, _ = np.linalg.qr(rng.standard_normal((len(one) - 1, k)))
        taken.append(np.sum((in_span @ Q) ** 2))
    sums = getattr(crossed(X, n), way).sums
    random = sums.random[:, LEVELS.index(k)].sum()
    assert_allclose(random, np.mean(taken), rtol=0.02)


def test_chance_is_the_mean_overlap_of_random_subspaces():
    rng, k, size = np.random.default_rng(2), 4, 60
    overlaps = []
    for _ in range(2000):
        U, V = (
            np.linalg.qr(rng.standard_normal((size, k)))[0] for _ in range(2)
        )
        overlaps.append(np.sum((U.T @ V) ** 2) / k)
    found = crossed(two(), 7)
    assert_allclose(
        found.chance[LEVELS.index(k)], np.mean(overlaps), rtol=0.02
    )


def test_the_distance_of_the_means():
    X, n = two(), 7
    a, b = X[:n], X[n:]
    squared = np.sum((a.mean(axis=0) - b.mean(axis=0)) ** 2)
    scatter = [np.sum((x - x.mean(axis=0)) ** 2) for x in (a, b)]
    pooled = sum(scatter) / 14
    means = crossed(X, n).means
    assert_allclose(means.distance, squared / pooled)
    expected = scatter[0] / 6 / 7 + scatter[1] / 8 / 9
    assert_allclose(means.expected, expected / pooled)
    assert np.isnan(means.p)


def test_equal_means_are_as_far_apart_as_expected():
    rng = np.random.default_rng(3)
    found = [
        crossed(rng.standard_normal((16, 40)), 7).means for _ in range(200)
    ]
    observed = np.mean([means.distance for means in found])
    assert_allclose(observed, found[0].expected, rtol=0.03)


def test_levels_beyond_a_population_have_no_value():
    found = crossed(two(), 7, levels=(4, 7, 8), draws=5)
    assert [len(values) for values in found.cosines] == [4, 0, 0]
    assert np.isnan(found.overlap.observed).tolist() == [False, True, True]
    assert np.isnan(found.overlap.p_lower).tolist() == [False, True, True]
    assert np.isnan(found.overlap.expected).tolist() == [False, True, True]
    # b has eight directions, a six.
    of_a, of_b = found.of_a, found.of_b
    assert np.isnan(of_a.captured.observed).tolist() == [False, False, False]
    assert np.isnan(of_b.captured.observed).tolist() == [False, True, True]
    assert np.isnan(of_b.sums.random[0]).tolist() == [False, True, True]


def test_directions_that_are_noise_hold_nothing_and_take_their_part():
    """Without noise four directions are the span: k / rank would be 1."""
    rng = np.random.default_rng(4)
    Q, _ = np.linalg.qr(rng.standard_normal((50, 4)))
    X = rng.standard_normal((20, 4)) @ Q.T
    exact = crossed(X, 10)
    noisy = crossed(X + 1e-4 * rng.standard_normal(X.shape), 10)
    for found in (exact, noisy):
        sums, column = found.of_b.sums, LEVELS.index(4)
        shares = sums.captured.sum(axis=0) / sums.deviation.sum()
        random = sums.random.sum(axis=0) / sums.deviation.sum()
        assert_allclose(shares[column], 1.0, rtol=1e-6)
        assert_allclose(random[column], 4 / 9, rtol=1e-6)
        assert_allclose(found.overlap.observed[column], 1.0, rtol=1e-6)


def test_members_that_do_not_differ_cannot_be_crossed():
    X = two()
    X[:7] = X[0]
    assert crossed(X, 7) is None


# Permutations.


def with_mean(R, groups):
    """Return residuals about a mean that orthogonal groups would have.

    By sweeps, with explicit vectors: a coordinate of its own holds the part of
    the mean that residuals know nothing of.
    """
    n, mu = len(R), np.zeros(len(R))
    alike = groups[:, None] == groups[None, :]
    for _ in range(500):
        products = R @ R.T + mu[:, None] + mu[None, :] - mu.mean()
        mu = np.sum(products * alike, axis=1) / n
    mean = np.linalg.lstsq(R, mu - mu.mean(), rcond=1e-9)[0]
    assert mean @ mean < mu.mean()
    rest = np.sqrt(mu.mean() - mean @ mean)
    return np.column_stack([R + mean, np.full(n, rest)])


def block_rows(a, b):
    """Return rows of which the last coordinate is each block's own."""
    return np.vstack([
        np.column_stack([a, np.zeros(len(a))]),
        np.column_stack([b[:, :-1], np.zeros(len(b)), b[:, -1]]),
    ])  # fmt: skip


def naive_p(X, n, divisions, k):
    """Return p of overlap and shares, every subspace from explicit rows."""
    spread = [
        np.sqrt(np.sum((x - x.mean(axis=0)) ** 2) / (len(x) - 1))
        for x in (X[:n], X[n:])
    ]
    groups = np.array(GROUPS)
    residuals = block_rows(
        with_mean((X[:n] - X[:n].mean(axis=0)) / spread[0], groups[:n]),
        with_mean((X[n:] - X[n:].mean(axis=0)) / spread[1], groups[n:]),
    )

    def shares(a, b):
        U, V = basis(a, k), basis(b, k)
        every = np.eye(a.shape[1])
        return np.array([
            np.sum((U.T @ V) ** 2) / k,
            held(b, U).sum() / held(b, every).sum(),
            held(a, V).sum() / held(a, every).sum(),
        ])  # fmt: skip

    observed = shares(X[:n], X[n:])
    drawn = np.array(
        [shares(residuals[first], residuals[~first]) for first in divisions]
    )
    below = np.sum(drawn <= observed + 1e-9, axis=0)
    return (1 + below) / (1 + len(drawn)), drawn.mean(axis=0)


def test_p_counts_divisions_of_explicit_residuals():
    X, n = two(5), 7
    found = crossed(X, n, GROUPS, draws=60, seed=6)
    divisions = divisions_of(np.array(GROUPS), n, 60, np.random.default_rng(6))
    for j, k in enumerate(LEVELS):
        p, mean = naive_p(X, n, divisions, k)
        permuted = found.overlap, found.of_b.captured, found.of_a.captured
        assert_allclose([x.p_lower[j] for x in permuted], p)
        assert_allclose([x.expected[j] for x in permuted], mean)


def test_the_p_of_the_means_counts_divisions_of_the_members():
    X, n = np.random.default_rng(5).standard_normal((16, 60)), 7
    X[:n] += 0.03

    def distance(a, b):
        scatter = sum(np.sum((x - x.mean(axis=0)) ** 2) for x in (a, b))
        return np.sum((a.mean(axis=0) - b.mean(axis=0)) ** 2) / scatter

    found = crossed(X, n, GROUPS, draws=60, seed=6)
    divisions = divisions_of(np.array(GROUPS), n, 60, np.random.default_rng(6))
    drawn = [distance(X[first], X[~first]) for first in divisions]
    above = np.sum(np.array(drawn) >= distance(X[:n], X[n:]))
    assert found.means.p == (1 + above) / 61
    assert 1 / 61 < found.means.p < 1


def test_divisions_keep_groups_whole_and_are_equally_likely():
    labels = np.array(GROUPS)
    divisions = divisions_of(labels, 7, 4000, np.random.default_rng(0))
    for group in set(GROUPS):
        inside = divisions[:, labels == group]
        assert (inside == inside[:, :1]).all()
        # Five of the twelve groups are in the first part.
        assert_allclose(inside[:, 0].mean(), 5 / 12, atol=0.03)
    counts = [len(set(labels[first])) for first in divisions]
    assert set(counts) == {5}


def test_neither_a_mean_nor_a_strength_makes_a_difference():
    X = two(7, sizes=(12, 12))
    plain = crossed(X, 12, draws=99)
    moved = X.copy()
    moved[:12] = 5 * moved[:12] + np.linspace(0, 50, 60)
    other = crossed(moved, 12, draws=99)
    assert_allclose(other.overlap.observed, plain.overlap.observed)
    assert_allclose(other.overlap.drawn, plain.overlap.drawn)
    for way in ("of_a", "of_b"):
        one, two_ = getattr(plain, way), getattr(other, way)
        assert_allclose(two_.captured.observed, one.captured.observed)
        assert_allclose(two_.captured.p_lower, one.captured.p_lower)
    assert other.means.distance > 5 * plain.means.distance
    assert other.means.p == 0.01


def test_a_mean_put_back_is_no_longer_than_a_member():
    """Groups that are not unrelated, one of them most of a population."""
    labels = [0] * 13 + [1, 2] + [3, 4, 5, 6, 7]
    X = np.random.default_rng(3).standard_normal((20, 60))
    X[:13] += 3 * X[13]
    pair = Pair.of(X @ X.T, 15)
    K = _with_means(pair, np.array(labels))
    spreads = np.diagonal(pair.at_one_spread())
    longest = (np.sqrt(spreads) + np.sqrt(spreads[:15].mean())) ** 2
    assert np.all(np.diagonal(K)[:15] <= longest[:15] + 1e-9)
    assert np.linalg.eigvalsh(K)[0] > -1e-9


@pytest.mark.parametrize("uneven", [0.0, 0.8])
@pytest.mark.parametrize("shared", [0.0, 0.7])
@pytest.mark.slow
def test_halves_of_one_population_are_seldom_called_different(shared, uneven):
    """Their means and strengths differ, and all members are uneven."""
    p = []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        Q, _ = np.linalg.qr(rng.standard_normal((80, 3)))
        X = rng.standard_normal((18, 80)) / 9
        X += shared * rng.standard_normal((18, 3)) @ Q.T
        X *= np.exp(uneven * rng.standard_normal((18, 1)))
        X[:8] = 3 * X[:8] + rng.standard_normal(80)
        found = crossed(X, 8, levels=(1, 3), draws=79, seed=seed)
        ways = found.overlap, found.of_a.captured, found.of_b.captured
        p.append([way.p_lower for way in ways])
    for column in np.array(p).reshape(400, -1).T:
        for level in (0.05, 0.1, 0.2):
            deviation = np.sqrt(level * (1 - level) / len(column))
            assert np.mean(column <= level) < level + 2.6 * deviation
        # And p says something: many are not near one.
        assert np.mean(column <= 0.9) > 0.3


def test_p_of_other_directions_is_not():
    p = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        Q, _ = np.linalg.qr(rng.standard_normal((80, 6)))
        X = rng.standard_normal((18, 80)) / 9
        X[:8] += 0.7 * rng.standard_normal((8, 3)) @ Q[:, :3].T
        X[8:] += 0.7 * rng.standard_normal((10, 3)) @ Q[:, 3:].T
        found = crossed(X, 8, levels=(3,), draws=79, seed=seed)
        p.append(found.overlap.p_lower[0])
    assert max(p) <= 0.05


# Planted populations, to the word.


def planted(rng, n, parts, shape=(20, 20)):
    """Return n maps: a share of the energy in each basis, the rest noise."""
    size = int(np.prod(shape))
    X = rng.standard_normal((n, size)) / np.sqrt(size)
    X *= np.sqrt(1 - sum(share for share, _ in parts))
    for share, Q in parts:
        weights = rng.standard_normal((n, Q.shape[1]))
        weights /= np.linalg.norm(weights, axis=1, keepdims=True)
        X += np.sqrt(share) * weights @ Q.T
    return X.reshape(n, *shape)


@pytest.fixture(scope="module")
def directions():
    rng = np.random.default_rng(0)
    Q, _ = np.linalg.qr(rng.standard_normal((400, 8)))
    return Q[:, :4], Q[:, 4:]


def word(a, b, *, n=12, seed=1, **settings):
    rng = np.random.default_rng(seed)
    maps = np.concatenate([planted(rng, n, a), planted(rng, n, b)])
    document = compare(
        fit_of(maps), range(n), range(n, 2 * n), OverlapSettings(**settings)
    )
    (layer,) = document["layers"]
    return layer, document


def test_the_same_directions_are_common(directions):
    P, _ = directions
    layer, document = word([(0.4, P)], [(0.4, P)])
    assert (layer["verdict"], layer["k"]) == ("common", 4)
    for way in ("a_to_b", "b_to_a"):
        assert layer[way]["effect"]["4"]["low"] > 0.1
        assert layer[way]["captured"]["4"] > 0.15
    assert (
        layer["overlap"]["value"]["4"] > 30 * layer["overlap"]["chance"]["4"]
    )
    assert layer["p"] > 0.05
    assert document["verdict"]["counts"] == {"common": 1}
    assert (
        "12 models of A in 12 independent groups"
        in (document["verdict"]["text"])
    )


def test_other_directions_are_different(directions):
    P, Q = directions
    layer, _ = word([(0.4, P)], [(0.4, Q)])
    assert (layer["verdict"], layer["k"]) == ("different", 4)
    assert layer["p"] == 0.005
    assert layer["overlap"]["p_lower"]["4"] == 0.005
    assert layer["overlap"]["value"]["4"] < layer["overlap"]["permuted"]["4"]
    for way in ("a_to_b", "b_to_a"):
        assert layer[way]["effect"]["4"]["high"] < 0.02


@pytest.mark.parametrize("turned", [False, True])
def test_directions_that_are_weak_in_one_are_one_way(directions, turned):
    P, Q = directions
    both = [(0.45, P)], [(0.15, P), (0.3, Q)]
    layer, _ = word(*(both[::-1] if turned else both))
    ways = ["b_to_a", "a_to_b"] if turned else ["a_to_b", "b_to_a"]
    low = [layer[way]["effect"][str(layer["k"])]["low"] for way in ways]
    assert layer["verdict"] == "one-way"
    assert low[0] >= 0.02 > low[1]


def test_no_directions_are_no_difference():
    layer, _ = word([], [])
    assert layer["verdict"] == "undecided"
    assert layer["p"] > 0.01


def test_other_noise_around_the_same_directions_is_common(directions):
    """And p may be small: the two are no parts of one population."""
    P, _ = directions
    layer, _ = word([(0.15, P)], [(0.45, P)], n=30)
    assert layer["verdict"] == "common"
    assert layer["overlap"]["p_lower"]["4"] < 0.05


def test_the_threshold_is_the_setting(directions):
    P, _ = directions
    layer, _ = word([(0.4, P)], [(0.4, P)], weakly_shared=0.5)
    assert layer["verdict"] == "undecided"


def test_four_groups_are_too_few(directions):
    P, _ = directions
    layer, document = word([(0.4, P)], [(0.4, P)], n=4)
    assert layer["verdict"] == "too-few"
    assert "4 of A, 4 of B" in layer["reasons"][0]
    assert layer["p"] is None
    assert layer["k"] is None
    assert layer["overlap"]["value"]["1"] is not None
    assert layer["overlap"]["p_lower"] == {"1": None, "4": None, "16": None}
    assert layer["a_to_b"]["effect"]["1"] is None
    assert layer["means"]["p"] is None
    assert_reasons(document)
    assert word([(0.4, P)], [(0.4, P)], n=5)[0]["verdict"] != "too-few"


def assert_reasons(value, above=""):
    """Every undefined number has its reason beside it, and none is NaN."""
    json.dumps(value, allow_nan=False)
    if isinstance(value, list):
        for item in value:
            assert_reasons(item)
    if isinstance(value, dict) and above not in {"settings", "environment"}:
        for key, item in value.items():
            by_k = isinstance(item, dict) and all(map(str.isdecimal, item))
            lacks = item is None or (by_k and None in item.values())
            if lacks and not key.isdecimal():
                assert value[f"{key}_reason"]
            assert_reasons(item, key)


def test_the_document_has_the_keys_it_should(directions):
    P, _ = directions
    layer, document = word([(0.4, P)], [(0.4, P)], k=(2, 30))
    assert document["schema"] == SCHEMA
    assert document.keys() == {
        "schema", "version", "settings", "environment", "populations",
        "layers", "verdict", "quarantine",
    }  # fmt: skip
    assert layer.keys() == {
        "name", "architecture", "kind", "shape", "n_models", "n_groups",
        "n_across", "verdict", "reasons", "k", "p", "overlap", "a_to_b",
        "b_to_a", "means", "draws", "output_side", "input_side",
    }  # fmt: skip
    assert list(layer["overlap"]["value"]) == ["1", "2", "4", "16", "30"]
    excess = layer["overlap"]["excess"]["4"]
    value, chance = (layer["overlap"][x]["4"] for x in ("value", "chance"))
    assert_allclose(excess, (value - chance) / (1 - chance))
    assert layer["verdict"] in MEANINGS
    assert_reasons(document)


# Who is compared.


def test_relatives_across_are_left_out_of_both(directions):
    P, _ = directions
    rng = np.random.default_rng(8)
    maps = planted(rng, 24, [(0.3, P)])
    # b's first is a copy of a's first that moved, and so is a's second.
    for i in (1, 12):
        maps[i] = maps[0] + 0.2 * planted(rng, 1, [])[0]
    document = compare(
        fit_of(maps), range(12), range(12, 24), OverlapSettings()
    )
    found = document["populations"]
    assert found["across"] == ["m000", "m001", "m012"]
    assert found["n_across"] == 3
    assert [x["n_models"] for x in found["members"]] == [12, 12]
    assert [x["n_compared"] for x in found["members"]] == [10, 11]
    (layer,) = document["layers"]
    assert layer["n_models"] == [10, 11]
    assert layer["n_across"] == 3
    rest = [i for i in range(24) if i not in {0, 1, 12}]
    alone = compare(
        fit_of(maps[rest]), range(10), range(10, 21), OverlapSettings()
    )
    for key in ("overlap", "a_to_b", "means"):
        assert_same(layer[key], alone["layers"][0][key])
    assert "3 models left out" in document["verdict"]["text"]


def assert_same(one, other):
    assert one.keys() == other.keys()
    for key, value in one.items():
        if isinstance(value, dict):
            assert_same(value, other[key])
        elif value is None or isinstance(value, str):
            assert value == other[key]
        else:
            assert_allclose(value, other[key], rtol=1e-6, atol=1e-9)


def test_relatives_within_a_population_are_one_group(directions):
    P, _ = directions
    rng = np.random.default_rng(9)
    maps = planted(rng, 16, [(0.3, P)])
    for i in range(4, 8):
        maps[i] = maps[3] + 0.2 * planted(rng, 1, [])[0]
    (layer,) = compare(
        fit_of(maps), range(8), range(8, 16), OverlapSettings()
    )["layers"]
    assert layer["n_models"] == [8, 8]
    assert layer["n_groups"] == [4, 8]
    assert layer["verdict"] == "too-few"


def test_one_random_start_across_leaves_nobody():
    rng = np.random.default_rng(10)
    A = rng.standard_normal((3, 16))
    models = {
        f"m{i:02d}": {"q": (A + 0.1 * rng.standard_normal(A.shape),
                            rng.standard_normal((20, 3)), 1.0)}
        for i in range(12)
    }  # fmt: skip
    document = compare(
        naive_fit(models), range(6), range(6, 12), OverlapSettings()
    )
    assert document["populations"]["n_across"] == 12
    (layer,) = document["layers"]
    assert layer["verdict"] == "too-few"
    assert layer["n_models"] == [0, 0]
    assert layer["overlap"] is None
    assert_reasons(document)


def test_a_copy_in_one_layer_counts_in_neither_there(directions):
    P, _ = directions
    rng = np.random.default_rng(11)
    first, second = planted(rng, 16, [(0.3, P)]), planted(rng, 16, [])
    first[9] = first[2]
    first[5] = first[4]
    document = compare(
        fit_of(first, second), range(8), range(8, 16), OverlapSettings()
    )
    one, two_ = document["layers"]
    # m009 is dropped as a copy of m002, and m002 stands for both.
    assert (one["n_models"], one["n_across"]) == ([6, 7], 1)
    assert (two_["n_models"], two_["n_across"]) == ([8, 8], 0)
    assert document["populations"]["n_across"] == 0


def test_who_is_in_neither_population_plays_no_part(directions):
    P, Q = directions
    rng = np.random.default_rng(12)
    maps = planted(rng, 30, [(0.3, P)])
    maps[24:] = planted(rng, 6, [(0.9, Q)])
    kept = compare(
        fit_of(maps[:24]), range(12), range(12, 24), OverlapSettings()
    )
    more = compare(fit_of(maps), range(12), range(12, 24), OverlapSettings())
    assert_same(kept["layers"][0]["overlap"], more["layers"][0]["overlap"])
    assert more["populations"] == kept["populations"]


def test_groups_that_are_given_stand_for_lineage(directions):
    P, _ = directions
    maps = planted(np.random.default_rng(13), 20, [(0.3, P)])
    groups = {f"m{i:03d}": f"g{i // 2}" for i in range(20)}
    (layer,) = compare(
        fit_of(maps), range(10), range(10, 20), OverlapSettings(groups=groups)
    )["layers"]
    assert layer["n_groups"] == [5, 5]


def test_the_order_of_members_changes_nothing(directions):
    P, _ = directions
    maps = planted(np.random.default_rng(14), 20, [(0.3, P)])
    models = {f"m{i:03d}": {"layer": maps[i]} for i in range(20)}
    base = {"layer": np.zeros((20, 20))}
    order = np.random.default_rng(0).permutation(20)
    turned = {f"m{i:03d}": models[f"m{i:03d}"] for i in order}
    place = {name: i for i, name in enumerate(turned)}
    one = compare(
        naive_fit(models, base=base), range(10), range(10, 20),
        OverlapSettings(),
    )  # fmt: skip
    other = compare(
        naive_fit(turned, base=base),
        [place[f"m{i:03d}"] for i in range(10)],
        [place[f"m{i:03d}"] for i in range(10, 20)],
        OverlapSettings(),
    )
    for key in ("overlap", "a_to_b", "b_to_a", "means"):
        assert_same(one["layers"][0][key], other["layers"][0][key])
    assert one["layers"][0]["verdict"] == other["layers"][0]["verdict"]


def test_p_is_adjusted_for_the_number_of_layers_and_levels():
    """One of many layers is low by chance: its own p says too much."""
    rng = np.random.default_rng(18)
    layers = [planted(rng, 16, [], shape=(8, 9)) for _ in range(15)]
    found = compare(
        fit_of(*layers), range(8), range(8, 16), OverlapSettings()
    )["layers"]
    own = [layer["overlap"]["p_lower"] for layer in found]
    assert len(found[0]["overlap"]["p_lower"]) == 3
    assert min(p[k] for p in own for k in ("1", "4")) <= 0.02
    assert min(layer["p"] for layer in found) > 0.1
    assert {layer["verdict"] for layer in found} == {"undecided"}


def test_adjusted_p_counts_the_lowest_of_any_layer_in_each_draw():
    rng = np.random.default_rng(19)
    layers = [planted(rng, 16, [], shape=(8, 9)) for _ in range(3)]
    fit, settings = fit_of(*layers), OverlapSettings()
    relations = relate(fit.layers, 16, start_thresholds(settings))
    both = populations_of(
        groupings_of(fit.models, relations, settings), range(8), range(8, 16)
    )
    found = [compare_layer(layer, both, settings) for layer in fit.layers]
    lowest, observed = np.full(199, np.inf), []
    for one in found:
        assert one.levels == (1,)
        values = one.crossing.overlap
        drawn, own = values.drawn[:, 0], values.observed[0]
        centre, spread = np.mean(drawn), np.std(drawn, ddof=1)
        lowest = np.minimum(lowest, (drawn - centre) / spread)
        observed.append((own - centre) / spread)
    expected = [(1 + np.sum(lowest <= z + 1e-9)) / 200 for z in observed]
    assert [x.p for x in likeness(found, settings)] == expected


def test_the_smaller_population_says_how_many_directions_may_count(
    directions,
):
    P, _ = directions
    rng = np.random.default_rng(20)
    maps = planted(rng, 20, [(0.4, P)])
    (layer,) = compare(
        fit_of(maps), range(14), range(14, 20), OverlapSettings()
    )["layers"]
    assert layer["n_groups"] == [14, 6]
    # Four directions of six members leave fewer outside them than inside.
    assert layer["a_to_b"]["effect"]["4"]["low"] > 0.1
    assert layer["k"] == 1


def test_a_layer_that_differs_is_found_among_others(directions):
    P, Q = directions
    rng = np.random.default_rng(17)
    layers = [
        np.concatenate([planted(rng, 12, [(0.45, x)]) for x in (P, other)])
        for other in (P, Q, P)
    ]
    found = compare(
        fit_of(*layers), range(12), range(12, 24), OverlapSettings()
    )["layers"]
    words = [layer["verdict"] for layer in found]
    assert words == ["common", "different", "common"]


@pytest.mark.parametrize(
    ("settings", "code"),
    [({"draws": 198}, "E_DRAWS"), ({"k": (0,)}, "E_LEVEL")],
)
def test_settings_out_of_range_are_refused(settings, code):
    fit = fit_of(np.random.default_rng(0).standard_normal((4, 3, 5)))
    with pytest.raises(UsageError) as caught:
        compare(fit, (0, 1), (2, 3), OverlapSettings(**settings))
    assert caught.value.code == code


def test_whoever_watches_is_told_of_each_layer():
    rng = np.random.default_rng(16)
    layers = [rng.standard_normal((4, 3, 5)) for _ in range(2)]
    events = []
    compare(
        fit_of(*layers), (0, 1), (2, 3), OverlapSettings(),
        on_event=events.append,
    )  # fmt: skip
    assert [(e.stage, e.done, e.total, e.subject) for e in events] == [
        ("compare", 1, 2, "layer.0"),
        ("compare", 2, 2, "layer.1"),
    ]
