"""Joint diagonalisation against its formulas and where it is exact."""

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose

import spectra.apply.compression.joint_diagonalisation as jd
from spectra.apply.compression.joint_diagonalisation import (
    diagonal_bases,
    full_bases,
    joint,
    joint_basis,
)
from spectra.apply.compression.small import small
from spectra.apply.merging.core_space import core_space
from spectra.subspaces.recipes.table import Factors
from tests.apply.updates import drawn, frame, maps, minilm, regauged
from tests.reference.compression import (
    diagonal_energy,
    joint_energy,
    least_squares,
)

ROUNDING = 1e-13


@pytest.fixture
def rng():
    return np.random.default_rng(13)


def raw(updates):
    """Return updates as they are, each with its own norm."""
    return small(core_space(updates), unit=False)


def missed(updates, bases, *, diagonal):
    """Return the squared error, from the maps themselves."""
    space = core_space(updates)
    U, V = space.U @ bases.U, space.V @ bases.V
    every = maps(updates)
    norms = [np.linalg.norm(M) ** 2 for M in every]
    shares = [least_squares(M, U, V, diagonal=diagonal) for M in every]
    return np.dot(norms, shares) / sum(norms)


@pytest.mark.parametrize("side", [640, 2])
@pytest.mark.parametrize("rank", [1, 3, 7, 14])
def test_full_is_the_formula(rng, rank, side, monkeypatch):
    """By Gram matrices, and where these would be large without them."""
    monkeypatch.setattr(jd, "_SMALL_SIDE", side)
    monkeypatch.setattr(jd, "OVERSAMPLING", 1)
    updates = drawn(rng, (40, 60), (2, 4, 9, 12, 10, 6))
    found = full_bases(raw(updates), rank, tolerance=-1.0, steps=6)
    error = found.errors[-1]
    wanted = joint_energy(maps(updates), rank, 6)
    assert error == pytest.approx(wanted, rel=1e-9)
    told = missed(updates, found, diagonal=False)
    assert told == pytest.approx(error, rel=1e-9)
    assert not found.converged
    for F in (found.U, found.V):
        assert_allclose(F.T @ F, np.eye(rank), atol=1e-12)


def test_errors_never_rise_and_it_ends_at_a_standstill(rng):
    updates = drawn(rng, (40, 30), (3,) * 8)
    found = full_bases(raw(updates), 5, tolerance=1e-8, steps=200)
    errors = found.errors
    assert found.converged
    assert 2 < len(errors) < 200
    assert all(b <= a + 1e-14 for a, b in itertools.pairwise(errors))
    # No orthonormal bases of that size do better than each side alone.
    cores = core_space(updates).cores
    for stack in (cores, cores.swapaxes(1, 2)):
        s = np.linalg.svd(np.concatenate(stack, axis=1), compute_uv=False)
        assert errors[-1] > (s[5:] ** 2).sum() / (s**2).sum()


def test_full_is_exact_of_updates_that_share_both_bases(rng):
    U, V = frame(rng, 40, 4), frame(rng, 30, 4)
    updates = [
        Factors(rng.standard_normal((4, 4)) @ V.T, U, 1.0) for _ in range(6)
    ]
    found = joint_basis(core_space(updates), 4)
    assert found.errors[-1] < 1e-28
    assert found.converged
    assert_allclose(np.linalg.norm(U.T @ found.U), 2, rtol=1e-12)
    assert_allclose(np.linalg.norm(V.T @ found.V), 2, rtol=1e-12)


@pytest.mark.parametrize("name", ["jd-full", "jd-diag"])
def test_nothing_is_missed_from_the_sum_of_the_ranks_on(rng, name):
    updates = small(core_space(drawn(rng, (40, 12), (2, 4, 3, 7))))
    form = joint(name)
    for rank in (16, 20):
        found = form.fit(updates, rank, None)
        assert found.errors[-1] < ROUNDING
        assert form.missed(updates, found).max() < ROUNDING
        # No direction is kept that no update has.
        assert found.U.shape[1] == 16
        assert found.V.shape[1] == (12 if name == "jd-full" else 16)


@pytest.mark.parametrize("name", ["jd-full", "jd-diag"])
def test_it_ignores_the_gauge(rng, name):
    updates = drawn(rng, (40, 30), (2, 4, 3))
    others = [regauged(rng, update) for update in updates]
    a, b = (joint(name).fit(raw(u), 4, None) for u in (updates, others))
    assert a.errors == pytest.approx(b.errors, rel=1e-9)


def test_every_update_counts_alike_or_by_its_norm(rng):
    """A thousandfold update is the only one that counts, until divided."""
    small_, large = drawn(rng, (40, 30), (3, 3))
    large = Factors(large.A, large.B, 1e3 * large.scale)
    space = core_space([small_, large])
    form = joint("jd-full")
    raw_, unit = small(space, unit=False), small(space)
    alone = form.missed(unit, full_bases(raw_, 3))
    assert alone[1] < 1e-6
    assert alone[0] > 0.8
    alike = form.missed(unit, full_bases(unit, 3))
    assert abs(alike[0] - alike[1]) < 0.5
    assert_allclose(unit.norms, [np.linalg.norm(M) for M in space.cores])


@pytest.mark.parametrize("name", ["jd-full", "jd-diag"])
def test_more_directions_miss_less_of_real_adapters(populations, name):
    updates = small(
        core_space(minilm(populations, "layer.3.attention.self.value"))
    )
    errors = [
        joint(name).fit(updates, rank, None).errors[-1]
        for rank in (4, 8, 16, 32, 64)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[1] > 0.1
    assert errors[-1] < ROUNDING


@pytest.mark.parametrize("name", ["jd-full", "jd-diag"])
def test_untrained_updates_miss_nothing(name):
    idle = Factors(np.ones((2, 7)), np.zeros((5, 2)), 1.0)
    updates = small(core_space([idle, idle]))
    found = joint(name).fit(updates, 3, None)
    assert found.errors == (0.0, 0.0)
    assert found.U.shape == found.V.shape == (1, 1)
    assert not joint(name).sigma(updates, found).any()
    assert not updates.moved.any()


def planted(rng, columns=3, n=5):
    """Return updates that oblique bases make diagonal."""
    U = rng.standard_normal((40, columns))
    V = rng.standard_normal((30, columns))
    return [
        Factors(V.T * rng.standard_normal((columns, 1)), U, 1.0)
        for _ in range(n)
    ]


def test_planted_diagonal_updates_are_found(rng):
    updates = planted(rng)
    found = diagonal_bases(raw(updates), 3, tolerance=0.0, steps=2000)
    assert found.errors[-1] < 1e-12
    U = updates[0].B / np.linalg.norm(updates[0].B, axis=0)
    cosines = np.abs((core_space(updates).U @ found.U).T @ U).max(axis=0)
    assert_allclose(cosines, 1, rtol=1e-6)


@pytest.mark.parametrize("rank", [1, 3, 5])
def test_diagonal_is_alternating_least_squares(rng, rank):
    updates = drawn(rng, (12, 9), (2, 3, 2))
    found = diagonal_bases(raw(updates), rank, tolerance=-1.0, steps=8)
    errors = found.errors
    assert len(errors) == 8
    assert not found.converged
    assert all(b <= a + 1e-14 for a, b in itertools.pairwise(errors))
    wanted = diagonal_energy(maps(updates), rank, 8)
    assert errors[-1] == pytest.approx(wanted, rel=1e-8)
    told = missed(updates, found, diagonal=True)
    assert told == pytest.approx(errors[-1], rel=1e-8)
    for F in (found.U, found.V):
        assert_allclose(np.linalg.norm(F, axis=0), 1, rtol=1e-12)
    assert diagonal_bases(raw(updates), rank).converged


def test_directions_that_nearly_coincide_are_told_apart(rng):
    U = rng.standard_normal((12, 1)) + 0.02 * rng.standard_normal((12, 3))
    V = rng.standard_normal((9, 1)) + 0.02 * rng.standard_normal((9, 3))
    updates = [
        Factors(V.T * rng.standard_normal((3, 1)), U, 1.0) for _ in range(4)
    ]
    found = diagonal_bases(raw(updates), 3, tolerance=-1.0, steps=5)
    wanted = diagonal_energy(maps(updates), 3, 5)
    assert found.errors[-1] == pytest.approx(wanted, rel=1e-5)


def test_diagonal_misses_no_less_and_at_rank_one_the_same(rng):
    updates = raw(drawn(rng, (40, 30), (2, 4, 3)))
    for rank in (1, 2, 4):
        full, diagonal = (
            fit(updates, rank, tolerance=1e-11, steps=2000).errors[-1]
            for fit in (full_bases, diagonal_bases)
        )
        assert diagonal >= full - 1e-9
        assert (diagonal < full + 1e-9) == (rank == 1)


@pytest.mark.parametrize("name", ["jd-full", "jd-diag"])
def test_small_matrices_are_the_best_for_any_bases(rng, name):
    """Of updates that the bases were not made for."""
    updates = drawn(rng, (12, 9), (2, 3, 2, 4))
    space = core_space(updates)
    every, form = small(space), joint(name)
    bases = form.fit(every.of([0, 1]), 3, None)
    U, V = space.U @ bases.U, space.V @ bases.V
    found = form.missed(every, bases)
    for M, share in zip(maps(updates), found, strict=True):
        wanted = least_squares(M, U, V, diagonal=name == "jd-diag")
        assert share == pytest.approx(wanted, rel=1e-9)
    assert found[2:].min() > 0.5


@pytest.mark.parametrize("name", ["jd-full", "jd-diag"])
def test_bases_hold_nothing_of_updates_that_were_held_out(rng, name):
    """A rank beyond what the others have is not filled up with theirs."""
    U, V = frame(rng, 40, 6), frame(rng, 30, 6)
    updates = [
        Factors(V[:, own].T, U[:, own], 1.0)
        for own in ([0, 1], [2, 3], [4, 5])
    ]
    every, form = small(core_space(updates)), joint(name)
    bases = form.fit(every.of([0, 1]), 6, None)
    assert bases.U.shape[1] == bases.V.shape[1] == 4
    assert_allclose(form.missed(every, bases), [0, 0, 1], atol=1e-12)
