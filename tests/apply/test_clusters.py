"""Clusters of updates, where it is known which they are."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from spectra.apply.compression.clusters import clusters
from spectra.apply.compression.joint_diagonalisation import joint
from spectra.apply.compression.small import small
from spectra.apply.merging.core_space import core_space
from spectra.subspaces.recipes.table import Factors
from tests.apply.updates import drawn, frame, maps
from tests.reference.compression import least_squares

NAMES = ["jd-full", "jd-diag"]


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def families(rng, sizes, *, name="jd-full", noise=0.0):
    """Return updates of several pairs of bases, one after another."""
    updates = []
    for size in sizes:
        U, V = frame(rng, 40, 3), frame(rng, 30, 3)
        for _ in range(size):
            S = rng.standard_normal((3, 3))
            if name == "jd-diag":
                S = np.diag(np.diag(S))
            B = U @ S + noise * rng.standard_normal(U.shape)
            updates.append(Factors(V.T, B, 1.0))
    return updates


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(5))
def test_families_are_told_apart(rng, name, seed):
    sizes = (5, 3, 4)
    updates = small(core_space(families(rng, sizes, name=name, noise=0.01)))
    one, found = (
        clusters(updates, joint(name), 3, count, seed=seed) for count in (1, 3)
    )
    of_each = np.split(found.labels, np.cumsum(sizes)[:-1])
    assert [len(set(own.tolist())) for own in of_each] == [1, 1, 1]
    assert len({own[0] for own in of_each}) == 3
    assert found.missed_of_own(updates).max() < 0.05
    assert one.missed_of_own(updates).mean() > 0.3


@pytest.mark.parametrize("name", NAMES)
def test_no_update_is_better_kept_by_another_cluster(rng, name):
    updates = drawn(rng, (40, 30), (2, 3, 2, 4, 3, 2, 2, 3))
    space = core_space(updates)
    every = small(space)
    found = clusters(every, joint(name), 3, 3, seed=1)
    assert set(found.labels.tolist()) == {0, 1, 2}
    shares = np.array(
        [
            [
                least_squares(
                    M, space.U @ bases.U, space.V @ bases.V,
                    diagonal=name == "jd-diag",
                )
                for M in maps(updates)
            ]
            for bases in found.bases
        ]
    )  # fmt: skip
    own = shares[found.labels, np.arange(8)]
    assert_allclose(found.missed_of_own(every), own, rtol=1e-8, atol=1e-12)
    assert_allclose(own, shares.min(axis=0), rtol=1e-3, atol=1e-12)
    # Its bases are those of its members alone.
    for cluster, bases in enumerate(found.bases):
        alone = every.of(found.own(cluster))
        again = joint(name).fit(alone, 3, None)
        told = joint(name).missed(alone, bases).sum()
        assert told <= joint(name).missed(alone, again).sum() + 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_it_is_one_result_of_one_seed(rng, name):
    updates = small(core_space(drawn(rng, (40, 30), (2,) * 12)))
    a, b = (clusters(updates, joint(name), 2, 4, seed=7) for _ in range(2))
    assert np.array_equal(a.labels, b.labels)
    for one, other in zip(a.bases, b.bases, strict=True):
        assert np.array_equal(one.U, other.U)
    others = {
        tuple(clusters(updates, joint(name), 2, 4, seed=seed).labels)
        for seed in range(5)
    }
    assert len(others) > 1


def test_as_many_clusters_as_members_miss_what_each_misses_alone(rng):
    updates = drawn(rng, (40, 30), (4,) * 5)
    every = small(core_space(updates))
    found = clusters(every, joint("jd-full"), 2, 5, seed=0)
    assert sorted(found.labels.tolist()) == [0, 1, 2, 3, 4]
    for M, share in zip(maps(updates), found.missed(every), strict=True):
        s = np.linalg.svd(M, compute_uv=False)
        wanted = (s[2:] ** 2).sum() / (s**2).sum()
        assert share == pytest.approx(wanted, rel=1e-5)


def test_there_are_no_more_clusters_than_miss_something(rng):
    every = small(core_space(families(rng, (4, 4))))
    found = clusters(every, joint("jd-full"), 3, 8, seed=0)
    assert len(found.bases) == 2
    assert found.missed(every).max() < 1e-12
    idle = Factors(np.ones((2, 7)), np.zeros((5, 2)), 1.0)
    alone = clusters(
        small(core_space([idle] * 3)), joint("jd-full"), 3, 2, seed=0
    )
    assert len(alone.bases) == 1


def test_more_clusters_miss_less(rng):
    updates = small(core_space(drawn(rng, (40, 30), (3,) * 12)))
    for name in NAMES:
        errors = [
            clusters(updates, joint(name), 4, count, seed=0)
            .missed_of_own(updates)
            .mean()
            for count in (1, 2, 4, 12)
        ]
        assert errors == sorted(errors, reverse=True)
