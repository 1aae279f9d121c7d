"""Leave-one-group-out from inner products, against projections of vectors."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from spectra.statistics.model_axis import held_out
from spectra.statistics.model_axis.effect import (
    eligible,
    interval,
    largest_effect,
    resamples,
)
from spectra.statistics.model_axis.held_out import HeldOut, hold_out
from spectra.statistics.model_axis.leave_one_out import leave_one_out
from spectra.statistics.vectors import centred

LEVELS = (1, 2, 4)


def population(rng, n=14, size=40):
    lengths = np.exp(0.6 * rng.standard_normal((n, 1)))
    X = lengths * rng.standard_normal((n, size))
    X[:, :3] *= 4
    return X + 2 * rng.standard_normal(size)


def by_projection(X, labels, k):
    """Return, group by group, what explicit projections leave and take."""
    rows = []
    for group in dict.fromkeys(labels):
        out = np.array(labels) == group
        m = X[~out].mean(axis=0)
        _, s, Vh = np.linalg.svd(X[~out] - m, full_matrices=False)
        Vh = Vh[s > 1e-9 * s[0]]
        away = X[out] - m
        first = np.sum((away @ Vh[:k].T @ Vh[:k]) ** 2)
        second = np.sum((away @ Vh[k : 2 * k].T @ Vh[k : 2 * k]) ** 2)
        whole = np.sum((X[out] @ Vh[:k].T) ** 2)
        energy = np.sum(X[out] ** 2)
        rows.append((energy, np.sum(away**2), first, second, whole))
    return np.array(rows).T


@pytest.fixture(params=["folds", "secular"])
def route(request, monkeypatch):
    """Both ways of solving, whatever the number of members."""
    many = 10**6 if request.param == "folds" else 0
    monkeypatch.setattr(held_out, "_MANY", many)


@pytest.mark.parametrize(
    "labels",
    [tuple(range(14)), (0, 0, 1, 2, 2, 2, 3, 4, 5, 5, 5, 5, 6, 7)],
    ids=["alone", "grouped"],
)
def test_sums_are_those_of_explicit_projections(route, labels):
    X = population(np.random.default_rng(0))
    sums = hold_out(
        centred(X @ X.T), np.sum(X**2, axis=1), labels,
        levels=LEVELS, floor=1e-9,
    )  # fmt: skip
    assert sums.folds == len(set(labels))
    for column, k in enumerate(LEVELS):
        expected = by_projection(X, labels, k)
        assert_allclose(sums.energy, expected[0])
        assert_allclose(sums.deviation, expected[1])
        assert_allclose(sums.captured[:, column], expected[2])
        assert_allclose(sums.basis_only[:, column], expected[4])
        if 2 * k <= 14 - 4 - 1:
            assert_allclose(sums.secondary[:, column], expected[3])


def test_random_is_the_average_of_random_subspaces_of_the_span(route):
    rng = np.random.default_rng(1)
    X, k, out = population(rng, n=7), 2, 3
    others = np.delete(X, out, axis=0)
    away = X[out] - others.mean(axis=0)
    _, _, Vh = np.linalg.svd(others - others.mean(axis=0))
    in_span = Vh[:5] @ away
    taken = []
    for _ in range(4000):
        Q, _ = np.linalg.qr(rng.standard_normal((5, k)))
        taken.append(np.sum((Q.T @ in_span) ** 2))
    sums = hold_out(
        centred(X @ X.T), np.ones(7), range(7), levels=(k,), floor=1e-9
    )
    assert_allclose(sums.random[out, 0], np.mean(taken), rtol=0.03)
    assert_allclose(sums.random[out, 0], np.sum(in_span**2) * k / 5)


def test_levels_beyond_the_training_span_have_no_value(route):
    X = population(np.random.default_rng(2), n=6)
    sums = hold_out(
        centred(X @ X.T), np.ones(6), (0, 0, 1, 2, 3, 4),
        levels=(1, 2, 3, 4, 5), floor=1e-9,
    )  # fmt: skip
    # Without the group of two, four members span three directions.
    first = sums.captured[0], sums.secondary[0], sums.random[0]
    for row, expected in zip(first, (3, 1, 3), strict=True):
        assert np.isnan(row).tolist() == [False] * expected + [True] * (
            5 - expected
        )
    assert np.isnan(sums.captured[1]).tolist() == [False] * 4 + [True]


def test_directions_below_the_floor_are_not_used(route):
    rng = np.random.default_rng(3)
    Q, _ = np.linalg.qr(rng.standard_normal((50, 12)))
    X = 1e-3 * rng.standard_normal((12, 50))
    X += rng.standard_normal((12, 3)) @ Q[:, :3].T
    K = centred(X @ X.T)
    options = {"levels": (3, 4), "floor": 1e-2}
    sums = hold_out(K, np.ones(12), range(12), **options)
    assert np.isnan(sums.captured[:, 1]).all()
    assert_allclose(sums.random[:, 0], sums.captured[:, 0])


def test_one_group_cannot_be_held_out():
    assert (
        hold_out(np.eye(3), np.ones(3), (0, 0, 0), levels=(1,), floor=0)
        is None
    )


def test_unrelated_members_are_farther_from_the_mean_than_from_zero():
    n = 50
    X = np.random.default_rng(0).standard_normal((n, 20_000))
    sums = hold_out(
        centred(X @ X.T), np.sum(X**2, axis=1), range(n),
        levels=(16,), floor=0.0,
    )  # fmt: skip
    error = np.sqrt(sums.deviation.sum() / sums.energy.sum())
    assert_allclose(error, np.sqrt(1 + 1 / (n - 1)), rtol=1e-3)


@pytest.mark.parametrize("n", [4, 30, 150])
def test_the_secular_equation_gives_what_folds_give(n, monkeypatch):
    X = population(np.random.default_rng(n), n=n, size=2 * n)
    K, levels = centred(X @ X.T), (1, min(16, n - 2))
    found = []
    for many in (0, 10**6):
        monkeypatch.setattr(held_out, "_MANY", many)
        energies = np.sum(X**2, axis=1)
        sums = hold_out(K, energies, range(n), levels=levels, floor=1e-9)
        found.append(sums)
    scale = found[0].deviation[:, None]
    assert_allclose(found[0].deviation, found[1].deviation, rtol=1e-12)
    for name in ("captured", "secondary", "random", "basis_only"):
        a, b = (getattr(sums, name) / scale for sums in found)
        assert_allclose(a, b, atol=1e-11)


def test_every_row_of_a_common_population_is_solved():
    X = population(np.random.default_rng(0), n=100, size=300)
    assert leave_one_out(centred(X @ X.T), np.zeros(100), 32).is_solved.all()


def test_equal_eigenvalues_are_left_to_folds(monkeypatch):
    X = np.vstack([np.eye(20), np.zeros((1, 20))])
    X[:3] *= 2.0
    K = centred(X @ X.T)
    assert not leave_one_out(K, np.zeros(21), 8).is_solved.any()
    monkeypatch.setattr(held_out, "_MANY", 0)
    sums = hold_out(K, np.ones(21), range(21), levels=(4,), floor=1e-9)
    expected = by_projection(X, range(21), 20)
    assert_allclose(sums.deviation, expected[1])
    assert_allclose(sums.random[:, 0], expected[2] * 4 / 19)


def test_a_member_across_a_direction_is_left_to_folds():
    # Member 0 and 1 lie on one axis, the others exactly across it.
    X = np.zeros((6, 5))
    X[0, 0], X[1, 0] = 5.0, -5.0
    X[2:, 1:] = np.diag([1.0, 2.0, 3.0, 4.0])
    K = centred(X @ X.T)
    found = leave_one_out(K, np.zeros(6), 2)
    expected = by_projection(X, range(6), 1)
    for i in np.flatnonzero(found.is_solved):
        assert_allclose(found.powers[i, 0], expected[2][i], atol=1e-12)


def sums_of(captured, random, deviation):
    captured, random = np.array(captured), np.array(random)
    deviation = np.array(deviation, float)
    shares = captured, captured, random, captured
    return HeldOut((1, 4), deviation, deviation, *shares)


def test_eligible_levels_leave_as_many_directions_outside():
    found = {n: eligible(n) for n in (1, 3, 4, 9, 10, 33, 34)}
    assert found == {
        1: (), 3: (), 4: (1,), 9: (1,), 10: (1, 4), 33: (1, 4), 34: (1, 4, 16),
    }  # fmt: skip


def test_the_effect_is_taken_where_its_interval_starts_highest():
    # Level 1 is larger on average, level 4 is the same in every group.
    rng = np.random.default_rng(0)
    captured = np.column_stack([np.r_[1.0, np.zeros(9)], np.full(10, 0.09)])
    sums = sums_of(captured, np.zeros((10, 2)), np.ones(10))
    weights = resamples(10, 500, rng)
    effect = largest_effect(sums, weights, (1, 4))
    assert effect.k == 4
    assert_allclose([effect.value, effect.low, effect.high], 0.09)
    only = largest_effect(sums, weights, (1,))
    assert only.k == 1
    assert_allclose(only.value, 0.1)
    assert only.low == 0.0


def test_the_interval_is_that_of_resampled_groups_one_by_one():
    rng = np.random.default_rng(4)
    captured, random = rng.random((12, 2)), 0.3 * rng.random((12, 2))
    deviation = 1 + rng.random(12)
    weights = resamples(12, 300, rng)
    ratios = []
    for row in weights:
        drawn = np.repeat(np.arange(12), row.astype(int))
        assert len(drawn) == 12
        part = sum(captured[g, 1] - random[g, 1] for g in drawn)
        ratios.append(part / sum(deviation[g] for g in drawn))
    effect = largest_effect(
        sums_of(captured, random, deviation), weights, (4,)
    )
    low, high = np.percentile(ratios, [2.5, 97.5])
    assert_allclose([effect.low, effect.high], [low, high])
    whole = (captured - random)[:, 1].sum() / deviation.sum()
    assert_allclose(effect.value, whole)
    assert_allclose(effect.captured - effect.random, whole)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(5)
    weights = resamples(40, 500, rng)
    hits = 0
    for _ in range(300):
        low, high = interval(rng.normal(0.3, 1, 40), np.ones(40), weights)
        hits += low <= 0.3 <= high
    assert 0.90 < hits / 300 < 0.98


def test_no_effect_where_nothing_deviates_or_no_level_has_a_value():
    weights = np.ones((5, 3))
    zero = sums_of(np.zeros((3, 2)), np.zeros((3, 2)), np.zeros(3))
    assert largest_effect(zero, weights, (1, 4)) is None
    assert largest_effect(None, weights, (1,)) is None
    captured = np.column_stack([np.full(3, 0.5), [0.1, np.nan, 0.1]])
    some = sums_of(captured, np.zeros((3, 2)), np.ones(3))
    assert largest_effect(some, weights, (4,)) is None
    assert largest_effect(some, weights, (1, 4)).k == 1
