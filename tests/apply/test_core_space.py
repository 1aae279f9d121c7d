"""Nothing of an update is lost in the core space, and nothing is added."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from spectra.apply.merging.core_space import core_space
from spectra.apply.merging.framed import Framed, reduced
from spectra.core.errors import Quarantine
from spectra.subspaces.recipes.table import Factors
from tests.apply.updates import (
    drawn,
    frame,
    minilm,
    of_triplets,
    regauged,
    tuples,
)
from tests.reference.merging import explicit, published_cores

AXES = ("factors", "updates")
seeds = st.integers(0, 2**32 - 1)


def losses(space, updates):
    """Return the error of each update, relative to its own norm."""
    return [
        np.linalg.norm(found - explicit(update)) / np.linalg.norm(found)
        for found, update in zip(
            space.lifted(), tuples(updates), strict=True
        )
    ]  # fmt: skip


def is_frame(F):
    return np.allclose(F.T @ F, np.eye(F.shape[1]), rtol=0, atol=1e-13)


@given(
    st.integers(2, 40),
    st.integers(2, 40),
    st.lists(st.integers(1, 6), min_size=1, max_size=8),
    st.sampled_from(AXES),
    seeds,
)
def test_it_is_lossless(out, into, ranks, axes, seed):
    """Of any shape and ranks, ranks beyond the shape among them."""
    updates = drawn(np.random.default_rng(seed), (out, into), ranks)
    space = core_space(updates, axes=axes)
    assert is_frame(space.U)
    assert is_frame(space.V)
    assert space.shape == (out, into)
    most = sum(min(r, out, into) for r in ranks)
    assert space.cores.shape[1:] == (min(out, most), min(into, most))
    assert max(losses(space, updates)) < 1e-13


@pytest.mark.parametrize("axes", AXES)
def test_it_is_lossless_of_real_adapters(populations, axes):
    updates = minilm(populations, "layer.3.attention.self.query")
    space = core_space(updates, axes=axes)
    assert space.cores.shape[1] == 64
    assert max(losses(space, updates)) < 1e-13


def test_a_small_update_is_kept_beside_a_large_one():
    rng = np.random.default_rng(0)
    large, small = drawn(rng, (30, 20), (3, 2))
    small = Factors(small.A * 1e-9, small.B * 1e-9, small.scale)
    large = Factors(large.A * 1e6, large.B, large.scale)
    space = core_space([large, small])
    assert space.cores.shape == (2, 5, 5)
    assert max(losses(space, [large, small])) < 1e-13


def test_small_directions_of_an_update_are_kept():
    rng = np.random.default_rng(8)
    steep = of_triplets(
        frame(rng, 30, 5), np.geomspace(1, 1e-12, 5), frame(rng, 20, 5)
    )
    space = core_space([steep])
    assert space.cores.shape == (1, 5, 5)
    assert losses(space, [steep])[0] < 1e-13


@pytest.mark.parametrize("angle", [1e-3, 1e-6, 1e-11])
def test_directions_that_nearly_coincide_are_two(angle):
    rng = np.random.default_rng(9)
    U, V = frame(rng, 30, 2), frame(rng, 20, 2)
    one = of_triplets(U[:, :1], [1.0], V[:, :1])
    near = of_triplets(U @ [[1.0], [angle]], [1.0], V[:, 1:])
    space = core_space([one, near])
    assert space.cores.shape == (2, 2, 2)
    assert max(losses(space, [one, near])) < 1e-13


def test_common_directions_count_once():
    rng = np.random.default_rng(1)
    common, *others = drawn(rng, (40, 30), (4, 4, 4))
    shared = [Factors(common.A, other.B, 2.0) for other in others]
    # The same rows in another gauge, and columns of B that are not trained.
    shared[1] = regauged(rng, shared[1])
    padded = np.concatenate([common.B, np.zeros((40, 3))], axis=1)
    idle = rng.standard_normal((3, 30))
    shared.append(Factors(np.concatenate([common.A, idle]), padded, 1.0))
    space = core_space(shared)
    assert space.cores.shape == (3, 12, 4)
    assert max(losses(space, shared)) < 1e-13


def test_the_axes_are_those_that_are_published():
    rng = np.random.default_rng(2)
    updates = drawn(rng, (25, 35), (3, 5, 2))
    space = core_space(updates)
    U, V, cores = published_cores(tuples(updates))
    left, right = np.diag(space.U.T @ U), np.diag(space.V.T @ V)
    assert_allclose(np.abs(left), 1, rtol=1e-10)
    assert_allclose(np.abs(right), 1, rtol=1e-10)
    assert_allclose(
        space.cores, [np.outer(left, right) * M for M in cores], atol=1e-12
    )


def test_axes_of_updates_do_not_depend_on_the_gauge():
    rng = np.random.default_rng(3)
    updates = drawn(rng, (25, 35), (3, 5, 2))
    others = [regauged(rng, update) for update in updates]
    for axes, is_free in (("updates", True), ("factors", False)):
        a, b = (core_space(u, axes=axes).cores for u in (updates, others))
        same = np.allclose(np.abs(a), np.abs(b), rtol=0, atol=1e-11)
        assert same == is_free


def test_axes_of_updates_are_their_joint_singular_vectors():
    updates = drawn(np.random.default_rng(4), (25, 35), (3, 5, 2))
    maps = [explicit(update) for update in tuples(updates)]
    space = core_space(updates, axes="updates")
    U = np.linalg.svd(np.concatenate(maps, axis=1))[0][:, :10]
    V = np.linalg.svd(np.concatenate(maps, axis=0))[2][:10].T
    assert_allclose(np.abs(np.diag(space.U.T @ U)), 1, rtol=1e-10)
    assert_allclose(np.abs(np.diag(space.V.T @ V)), 1, rtol=1e-10)


@pytest.mark.parametrize("axes", AXES)
def test_untrained_updates_are_zero(axes):
    idle = Factors(np.ones((2, 7)), np.zeros((5, 2)), 1.0)
    space = core_space([idle, idle], axes=axes)
    assert_allclose(space.lifted(), np.zeros((2, 5, 7)))
    trained = drawn(np.random.default_rng(5), (5, 7), (2,))[0]
    space = core_space([idle, trained], axes=axes)
    assert not space.cores[0].any()
    assert_allclose(space.lifted()[1], trained.update(), atol=1e-13)


def test_what_is_not_finite_is_refused():
    bad = Factors(np.full((2, 7), np.nan), np.ones((5, 2)), 1.0)
    with pytest.raises(Quarantine, match="NO_CONVERGENCE"):
        core_space([bad])


@given(st.integers(1, 12), seeds)
def test_reduction_is_the_best_of_its_rank(rank, seed):
    rng = np.random.default_rng(seed)
    space = core_space(drawn(rng, (12, 15), (3, 4)))
    merged = space.framed(space.cores.sum(axis=0))
    found = reduced(merged, rank)
    whole = merged.lifted()
    s = np.linalg.svd(whole, compute_uv=False)
    best = np.linalg.norm(s[rank:]) / np.linalg.norm(s)
    assert found.factors.rank == min(rank, 7)
    assert found.error == pytest.approx(best, abs=1e-12)
    error = np.linalg.norm(whole - found.factors.update())
    assert error / np.linalg.norm(s) == pytest.approx(best, abs=1e-12)
    # Balanced: neither factor is larger than the other.
    assert_allclose(
        found.factors.B.T @ found.factors.B,
        found.factors.A @ found.factors.A.T, atol=1e-12,
    )  # fmt: skip


@pytest.mark.parametrize("shape", [(500, 420), (420, 500)])
@pytest.mark.parametrize("decay", [1.0, 0.5])
def test_reduction_of_a_large_map_is_the_best_too(shape, decay):
    """By a Gram matrix; where little is left over, as it is."""
    rng = np.random.default_rng(10)
    U, V = (frame(rng, n, 420) for n in shape)
    s = np.concatenate([[9.0, 8, 3, 2], decay ** np.arange(1, 417)])
    for tail in (1.0, 1e-9, 0.0):
        values = s * np.where(np.arange(420) < 4, 1, tail)
        whole = (U * values) @ V.T
        found = reduced(Framed(None, whole, None), 4)
        size = np.linalg.norm(values)
        best = np.linalg.norm(values[4:]) / size
        assert found.error == pytest.approx(best, rel=1e-6, abs=1e-14)
        error = np.linalg.norm(whole - found.factors.update()) / size
        assert error == pytest.approx(best, rel=1e-6, abs=1e-14)
        assert_allclose(
            found.factors.B.T @ found.factors.B,
            found.factors.A @ found.factors.A.T, atol=1e-12,
        )  # fmt: skip
        kept = (U[:, :4] * values[:4]) @ V[:, :4].T
        assert_allclose(found.factors.update(), kept, atol=1e-9)


def test_small_directions_of_a_large_map_are_found():
    """A Gram matrix does not tell them from nothing."""
    rng = np.random.default_rng(13)
    U, V = frame(rng, 500, 4), frame(rng, 400, 4)
    whole = (U * [1, 0.5, 1e-9, 1e-11]) @ V.T
    assert reduced(Framed(None, whole, None), 4).error < 1e-14
    found = reduced(Framed(None, whole, None), 3)
    assert found.error * np.sqrt(1.25) == pytest.approx(1e-11, rel=1e-3)


def test_reduction_of_nothing_is_nothing():
    rng = np.random.default_rng(6)
    space = core_space(drawn(rng, (6, 8), (2,)))
    found = reduced(space.framed(np.zeros((2, 2))), 1)
    assert found.error == 0.0
    assert not found.factors.update().any()


def test_frames_that_lie_together_are_one_span():
    """Directions that differ by rounding alone are not two."""
    rng = np.random.default_rng(7)
    U = frame(rng, 30, 3)
    turned = U @ frame(rng, 3, 3)
    a, b = drawn(rng, (30, 20), (3, 3))
    space = core_space([Factors(a.A, U), Factors(b.A, turned * [9, 3, 1])])
    assert space.cores.shape == (2, 3, 6)
