"""Where one way of merging is another, or what it makes is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from spectra.apply.merging.core_space import CoreSpace, core_space
from spectra.apply.merging.linear import subspace_weights
from spectra.apply.merging.triplets import Triplets
from spectra.subspaces.recipes.table import Factors
from tests.apply.updates import (
    FOUR,
    METHOD,
    close,
    drawn,
    frame,
    maps,
    merged,
    of_triplets,
    regauged,
    tuples,
)
from tests.reference.merging import TWINS


@pytest.fixture
def rng():
    return np.random.default_rng(11)


# The mean


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("weighted", {"weights": [7.0] * 4}),
        ("task-arithmetic", {"lam": 0.25}),
        ("knots", {"inner": "mean"}),
        ("cart", {"keep": 10}),
        ("cart", {"keep": 0}),
        *(("subspace", {"k": k}) for k in (1, 2, 3, 9)),
        ("subspace", {"k": 2, "weights": [7.0] * 4}),
    ],
)
def test_what_is_the_mean(rng, name, options):
    updates = drawn(rng, (40, 30), (2, 4, 3, 1))
    close(merged(name, updates, **options), np.mean(maps(updates), axis=0))


@given(st.integers(1, 9), st.integers(2, 7), st.integers(0, 2**32 - 1))
def test_merging_in_a_subspace_with_equal_weights_is_the_mean(k, n, seed):
    """Centred coefficients sum to zero, whatever the directions are."""
    updates = drawn(np.random.default_rng(seed), (8, 6), [2] * n)
    weights = subspace_weights(core_space(updates), k)
    assert_allclose(weights, 1 / n, rtol=0, atol=1e-15)


def test_merging_in_the_whole_subspace_is_the_weighted_average(rng):
    updates = drawn(rng, (40, 30), (2, 4, 3, 1))
    found = subspace_weights(core_space(updates), 3, FOUR)
    assert_allclose(found, np.divide(FOUR, sum(FOUR)), atol=1e-12)


def test_directions_that_do_not_exist_are_not_used(rng):
    """Of two updates and their mean only one direction is more than noise."""
    a, b = drawn(rng, (20, 30), (2, 2))
    between = Factors(
        np.concatenate([a.A, b.A]),
        np.concatenate([a.scale * a.B, b.scale * b.B], axis=1) / 2,
    )
    space = core_space([a, b, between])
    weights = [1.0, 0.0, 0.0]
    one, two = (subspace_weights(space, k, weights) for k in (1, 2))
    assert_allclose(two, one, atol=1e-12)


@given(
    st.lists(st.floats(-8, 0), min_size=3, max_size=6),
    st.integers(0, 2**32 - 1),
)
def test_weights_add_up_where_updates_hardly_differ(exponents, seed):
    """Directions near the rounding are known no better than the mean is."""
    rng = np.random.default_rng(seed)
    common, *own = drawn(rng, (9, 8), [2] * (1 + len(exponents)))
    updates = [
        Factors(
            np.concatenate([common.A, other.A]),
            np.concatenate([common.B, 10.0**power * other.B], axis=1),
        )
        for other, power in zip(own, exponents, strict=True)
    ]
    weights = [3.0, *[1.0] * (len(exponents) - 1)]
    found = subspace_weights(core_space(updates), len(updates), weights)
    assert found.sum() == pytest.approx(1, abs=1e-14)
    # Equal ones are exact, not only nearly so.
    equal = subspace_weights(core_space(updates), 2)
    assert set(equal.tolist()) == {1 / len(updates)}


@pytest.mark.parametrize("space", ["core", "dense"])
def test_ties_of_everything_with_one_sign_is_the_mean(rng, space):
    """Multiples of one update: no two differ in the sign of an entry."""
    update = drawn(rng, (20, 30), (3,))[0]
    updates = [Factors(update.A, update.B, c) for c in (0.5, 1.0, 3.0)]
    found = merged("ties", updates, density=1.0, space=space)
    close(found, 1.5 * update.B @ update.A)


def held(stack):
    """Return maps (N, 2, 2) as the space of some updates, as they are."""
    parts = tuple(Triplets(M, np.ones(2), np.eye(2)) for M in stack)
    return CoreSpace(np.eye(2), np.eye(2), parts)


def test_ties_elects_the_heavier_sign_and_averages_those_who_agree():
    """Entry by entry, by hand."""
    rows = np.array([[[1.0, 5]], [[2.0, -1]], [[-4.0, -3]]])
    stack = np.concatenate([rows, np.zeros((3, 1, 2))], axis=1)
    moved = held(stack)
    found = METHOD["ties"].merge(moved, density=1.0).lifted()
    # -1 is elected by one of three, then +1 likewise.
    assert found.tolist() == [[-4.0, 5.0], [0.0, 0.0]]
    found = METHOD["ties"].merge(moved, density=0.25).lifted()
    # Only the greatest of each: 5, 2 and -4.
    assert found.tolist() == [[-4.0, 5.0], [0.0, 0.0]]
    tied = held(stack[[0, 0]] * [[[1]], [[-1]]])
    assert not METHOD["ties"].merge(tied, density=1.0).lifted().any()


# Random entries


def test_dare_keeps_all_at_density_one(rng):
    updates = drawn(rng, (20, 15), (2, 4, 3))
    close(merged("dare", updates, density=1.0), np.sum(maps(updates), axis=0))


def test_dare_is_task_arithmetic_on_average(rng):
    updates = drawn(rng, (6, 5), (2, 3))
    space = core_space(updates)
    draws = [
        METHOD["dare"].merge(space, density=0.5, seed=(0, i)).lifted()
        for i in range(2000)
    ]
    wanted = np.sum(maps(updates), axis=0)
    error = np.std(draws, axis=0) / np.sqrt(len(draws))
    assert np.abs(np.mean(draws, axis=0) - wanted).max() < 4.5 * error.max()
    assert np.abs(draws[0] - draws[1]).max() > 1e-3
    again = METHOD["dare"].merge(space, density=0.5, seed=(0, 1)).lifted()
    assert (again == draws[1]).all()


# Singular vectors


def orthogonal(rng, ranks=(2, 3, 2)):
    """Return updates of which no two share a direction on either side."""
    U, V = frame(rng, 40, sum(ranks)), frame(rng, 30, sum(ranks))
    s = rng.uniform(1, 2, sum(ranks))
    ends = np.cumsum(ranks)[:-1]
    parts = zip(*(np.split(F, ends, axis=-1) for F in (U, s, V)), strict=True)
    return [of_triplets(*part) for part in parts]


def test_tsv_m_of_orthogonal_updates_is_the_sum(rng):
    updates = orthogonal(rng)
    close(merged("tsv-m", updates), np.sum(maps(updates), axis=0))


@pytest.mark.parametrize("n", [2, 5])
def test_tsv_m_of_equal_updates_is_the_update(rng, n):
    update = drawn(rng, (40, 30), (3,))[0]
    updates = [update, *(regauged(rng, update) for _ in range(n - 1))]
    close(merged("tsv-m", updates), update.update())


def test_tsv_m_keeps_what_full_weights_would(rng):
    """min(out, in) / N triplets: of mixed ranks none is cut to their mean."""
    updates = orthogonal(rng, (1, 7, 1))
    close(merged("tsv-m", updates), np.sum(maps(updates), axis=0))
    cut = merged("tsv-m", updates, keep=3)
    assert np.linalg.matrix_rank(cut) == 5


def test_iso_c_is_flat_and_keeps_the_sum_of_the_values(rng):
    updates = drawn(rng, (40, 30), (2, 4, 3, 1))
    whole = np.sum(maps(updates), axis=0)
    before = np.linalg.svd(whole, compute_uv=False)
    after = np.linalg.svd(merged("iso-c", updates), compute_uv=False)
    assert_allclose(after[:10], before[:10].mean(), rtol=1e-12)
    assert_allclose(after[10:], 0, atol=1e-12)
    assert after.sum() == pytest.approx(before.sum(), rel=1e-12)


def test_iso_c_of_a_sum_of_lower_rank_has_that_rank(rng):
    """Two updates cancel; what they span is not raised."""
    a, b = drawn(rng, (40, 30), (3, 2))
    updates = [a, Factors(a.A, a.B, -a.scale), b]
    found = merged("iso-c", updates)
    assert np.linalg.matrix_rank(found) == 2
    close(found, merged("iso-c", [b]))


def test_iso_cts_is_flat_and_iso_c_where_all_is_common(rng):
    updates = drawn(rng, (40, 30), (4,) * 4)
    s = np.linalg.svd(merged("iso-cts", updates), compute_uv=False)
    assert_allclose(s[:16], s[0], rtol=1e-10)
    assert_allclose(s[16:], 0, atol=1e-10)
    all_common = merged("iso-cts", updates, common=1.0)
    close(all_common, merged("iso-c", updates))


def test_iso_cts_takes_nothing_of_an_update_within_the_common_part(rng):
    """What is left of it is rounding, which has no directions."""
    a, b = orthogonal(rng, (6, 4))
    strong = Factors(a.A, a.B, 100.0)
    updates = [strong, strong, b]
    # 10 directions, 1 of each update's own: 7 are common, all strong ones too.
    found = merged("iso-cts", updates, common=0.7)
    assert np.linalg.matrix_rank(found) == 8
    close(found, TWINS["iso-cts"](tuples(updates), common=0.7))


def test_knots_with_all_entries_does_not_care_whose_are_compared(rng):
    updates = drawn(rng, (40, 30), (2, 4, 3, 1))
    a, b, c, d = (
        merged("knots", updates, density=density, compare=compare)
        for density in (1.0, 0.3)
        for compare in ("V", "SV")
    )
    close(b, a)
    assert np.abs(c - d).max() > 1e-3 * np.abs(c).max()


def test_knots_has_no_directions_of_rounding(rng):
    """Beside the others the third is nothing, and has no rows to trim."""
    a, b, c = drawn(rng, (40, 30), (2, 4, 3))
    for scale, rows in ((1e-14, 6), (1e-9, 9)):
        space = core_space([a, b, Factors(c.A, c.B, scale)])
        assert space.cores.shape == (3, 9, 9)
        assert METHOD["knots"].merge(space).M.shape[0] == rows
