"""Interference and alignment: known values, twins, and what they ignore."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from spectra.apply.merging.core_space import core_space
from spectra.apply.merging.interference import (
    alignment_ratios,
    interference,
    interference_matrix,
)
from spectra.apply.merging.methods import METHODS
from spectra.subspaces.recipes.table import Factors
from tests.apply.updates import (
    drawn,
    frame,
    minilm,
    of_triplets,
    regauged,
    tuples,
)
from tests.reference import merging as twin

NORMS = ("entrywise", "nuclear")
RANKS = (2, 4, 3, 1)


@pytest.fixture
def rng():
    return np.random.default_rng(12)


def members(space):
    return [space.framed(core) for core in space.cores]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("keep", [None, 2])
def test_interference_is_its_definition(rng, norm, keep):
    updates = drawn(rng, (40, 30), RANKS)
    space = core_space(updates)
    wanted = twin.interference(tuples(updates), norm, keep)
    found = interference(space, norm=norm, keep=keep)
    assert found == pytest.approx(wanted, rel=1e-10)
    pairs = interference_matrix(space, norm=norm, keep=keep)
    assert (pairs == pairs.T).all()
    assert_allclose(np.diag(pairs), 0, atol=1e-12)
    two = twin.interference(tuples([updates[0], updates[2]]), norm, keep)
    assert pairs[0, 2] == pytest.approx(two, rel=1e-10)


def test_interference_of_real_adapters(populations):
    updates = minilm(populations, "layer.3.attention.self.value")
    space = core_space(updates)
    for norm in NORMS:
        wanted = twin.interference(tuples(updates), norm)
        assert interference(space, norm=norm) == pytest.approx(wanted)


@pytest.mark.parametrize("norm", NORMS)
def test_of_orthogonal_updates_there_is_none(rng, norm):
    U, V = frame(rng, 40, 6), frame(rng, 30, 6)
    s = np.array([3.0, 2, 1])
    updates = [
        of_triplets(U[:, i : i + 3], s, V[:, i : i + 3]) for i in (0, 3)
    ]
    assert interference(core_space(updates), norm=norm) < 1e-12
    # On one side is enough.
    updates[1] = of_triplets(U[:, 3:], s, V[:, :3])
    assert interference(core_space(updates), norm=norm) < 1e-12


@given(st.integers(2, 6), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_of_equal_updates_it_is_known(n, rank, seed):
    update = drawn(np.random.default_rng(seed), (14, 11), (rank,))[0]
    s = np.linalg.svd(update.update(), compute_uv=False)
    total = s[:rank].sum()
    space = core_space([update] * n)
    assert interference(space) == pytest.approx(n * (n - 1) ** 2 * total)
    nuclear = interference(space, norm="nuclear")
    assert nuclear == pytest.approx(n * (n - 1) * total)


@pytest.mark.parametrize("norm", NORMS)
def test_interference_ignores_gauge_and_order_and_follows_scale(rng, norm):
    updates = drawn(rng, (40, 30), RANKS)
    wanted = interference(core_space(updates), norm=norm)
    for others, factor in (
        ([regauged(rng, update) for update in updates], 1),
        (updates[::-1], 1),
        ([Factors(u.A, u.B, 3 * u.scale) for u in updates], 3),
    ):
        found = interference(core_space(others), norm=norm)
        assert found == pytest.approx(factor * wanted, rel=1e-10)


@pytest.mark.parametrize("k", [None, 1, 3])
def test_alignment_is_its_definition(rng, k):
    updates = drawn(rng, (40, 30), RANKS)
    space = core_space(updates)
    maps = [twin.explicit(update) for update in tuples(updates)]
    found = alignment_ratios(members(space), members(space), k=k)
    wanted = [[twin.alignment_ratio(M, R, k) for R in maps] for M in maps]
    assert_allclose(found, wanted, rtol=1e-10)


def test_alignment_is_with_any_map_of_the_layer(rng):
    updates = drawn(rng, (20, 15), RANKS)
    space = core_space(updates)
    for method in METHODS:
        options = {"k": 2, "weights": [1.0, 2, 3, 4]}
        options = {name: options[name] for name in method.needs}
        merged = method.merge(space, **options)
        found = alignment_ratios(members(space), [merged])
        wanted = [
            twin.alignment_ratio(twin.explicit(update), merged.lifted())
            for update in tuples(updates)
        ]
        assert_allclose(found[:, 0], wanted, rtol=1e-9)


def test_alignment_with_itself_is_at_least_the_share(rng):
    space = core_space(drawn(rng, (40, 30), (6, 6)))
    own = np.diag(alignment_ratios(members(space), members(space)))
    assert (own > 0.95).all()
    assert (own < 1.0).all()
    full = alignment_ratios(members(space), members(space), k=6)
    assert_allclose(np.diag(full), 1, rtol=1e-12)
    many = core_space(drawn(rng, (40, 30), (2,) * 12))
    whole = alignment_ratios(members(many), members(many), k=2)
    assert whole.max() == pytest.approx(1, rel=1e-12)
    assert (whole <= 1.0).all()
    # And one direction fewer has less than the share.
    s = np.linalg.svd(space.cores[0], compute_uv=False)
    k = 1 + int(np.argmax(np.sqrt(np.cumsum(s**2) / np.sum(s**2)) > 0.95))
    one = members(space)[:1]
    assert alignment_ratios(one, one, k=k)[0, 0] == pytest.approx(own[0])
    assert alignment_ratios(one, one, k=k - 1)[0, 0] <= 0.95


def test_alignment_of_orthogonal_and_of_zero(rng):
    U, V = frame(rng, 40, 4), frame(rng, 30, 2)
    updates = [of_triplets(U[:, i : i + 2], [2.0, 1], V) for i in (0, 2)]
    idle = Factors(V.T, np.zeros((40, 2)))
    space = core_space([*updates, idle])
    found = alignment_ratios(members(space), members(space), k=2)
    assert_allclose(found[:2, :2], np.eye(2), atol=1e-12)
    assert (found[:2, 2] == 0).all()
    assert np.isnan(found[2]).all()
