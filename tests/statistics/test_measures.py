import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.decomposition import PCA

from spectra.statistics import measures
from spectra.statistics.vectors import deviations
from tests.statistics.planted import fit_of, planted, strong

LEVELS = (1, 2, 4, 16)
IDS = [f"m{i:03d}" for i in range(40)]


def axis_of(maps, **options):
    return deviations(fit_of(maps, **options).layers[0], IDS)


def evr_of(X, levels=LEVELS):
    s = np.linalg.svd(X - X.mean(axis=0), compute_uv=False)
    shares = np.cumsum(s**2) / np.sum(s**2)
    return [shares[k - 1] if k < len(X) else np.nan for k in levels]


@pytest.fixture(scope="module")
def maps():
    rng = np.random.default_rng(5)
    lengths = np.exp(0.5 * rng.standard_normal(20))[:, None, None]
    return lengths * planted(rng, 0.3, n=20, shape=(12, 14)) + 0.02


def test_evr_is_that_of_scikit_learn(maps):
    X = maps.reshape(20, -1)
    ratios = PCA().fit(X).explained_variance_ratio_
    expected = [ratios[:k].sum() for k in LEVELS]
    assert_allclose(measures.evr(axis_of(maps), LEVELS), expected, rtol=1e-9)


def test_participation_ratio_counts_equal_directions(maps):
    X = maps.reshape(20, -1)
    s = np.linalg.svd(X - X.mean(axis=0), compute_uv=False) ** 2
    found = measures.participation_ratio(axis_of(maps))
    assert_allclose(found, s.sum() ** 2 / np.sum(s**2))
    simplex = np.eye(9).reshape(9, 3, 3)
    assert_allclose(measures.participation_ratio(axis_of(simplex)), 8)


def test_mean_fraction_is_the_energy_of_the_mean(maps):
    X = maps.reshape(20, -1)
    expected = np.sum(X.mean(axis=0) ** 2) / np.mean(np.sum(X**2, axis=1))
    assert_allclose(axis_of(maps).mean_fraction, expected)


def test_error_of_the_reconstruction_follows_from_mean_and_evr(maps):
    X = maps.reshape(20, -1)
    m = X.mean(axis=0)
    U, s, Vh = np.linalg.svd(X - m, full_matrices=False)
    axis = axis_of(maps)
    for k, evr in zip(LEVELS, measures.evr(axis, LEVELS), strict=True):
        rebuilt = m + U[:, :k] * s[:k] @ Vh[:k]
        error = np.sum((X - rebuilt) ** 2) / np.sum(X**2)
        assert_allclose((1 - axis.mean_fraction) * (1 - evr), error)


def test_orthogonal_updates_have_exactly_what_their_norms_make_of_them():
    rng = np.random.default_rng(2)
    Q, _ = np.linalg.qr(rng.standard_normal((36, 20)))
    X = np.exp(rng.standard_normal(20))[:, None] * Q.T
    axis = axis_of((X + 5).reshape(20, 6, 6))
    expected = measures.expected_norms(axis, LEVELS)
    assert_allclose(measures.evr(axis, LEVELS), expected, rtol=1e-9)
    assert_allclose(evr_of(X), expected, rtol=1e-9)
    # Norms alone have made far more of it than equal members would.
    assert expected[2] > 2 * measures.expected_isotropic(20, (4,))[0]


def test_scaled_orthogonal_deviations_show_what_is_expected_of_them():
    rng = np.random.default_rng(2)
    Q, _ = np.linalg.qr(rng.standard_normal((36, 20)))
    X = np.exp(rng.standard_normal(20))[:, None] * Q.T
    axis = axis_of(X.reshape(20, 6, 6))
    found = measures.unit_norm_evr(axis, LEVELS)
    expected = measures.expected_unit_norm(axis, LEVELS)
    assert_allclose(found, expected, rtol=1e-6)
    # The mean outweighs small members, which then all point away from it.
    assert found[0] > 0.5
    equal = axis_of(np.eye(16).reshape(16, 4, 4))
    found = measures.expected_unit_norm(equal, (1, 4))
    assert_allclose(found, measures.expected_isotropic(16, (1, 4)))


def test_unit_norm_evr_is_that_of_scaled_deviations(maps):
    axis = axis_of(maps)
    X = maps.reshape(20, -1)
    Y = (X - X.mean(axis=0)) / np.sqrt(axis.squared_norms)[:, None]
    assert_allclose(measures.unit_norm_evr(axis, LEVELS), evr_of(Y))


def test_members_below_the_floor_are_not_blown_up_to_unit_norm():
    rng = np.random.default_rng(4)
    maps = strong(rng, 10, (6, 7))
    maps[3] = 1e-9 * maps[3] + maps.sum(axis=0) / 9 - maps[3] / 9
    axis = axis_of(maps, resolution=0.01)
    assert axis.squared_norms[3] < axis.floor
    kept = np.arange(10) != 3
    X = maps.reshape(10, -1)
    Y = (X - X.mean(axis=0))[kept]
    Y /= np.sqrt(axis.squared_norms[kept])[:, None]
    assert_allclose(measures.unit_norm_evr(axis, (1, 4)), evr_of(Y, (1, 4)))


def test_equal_orthogonal_members_share_k_of_n_less_one():
    axis = axis_of(np.eye(16).reshape(16, 4, 4))
    found = measures.evr(axis, (1, 4, 15))
    assert_allclose(found, [1 / 15, 4 / 15, 1])
    assert_allclose(measures.expected_isotropic(16, (1, 4, 15)), found)


def test_levels_beyond_the_members_have_no_value():
    axis = axis_of(strong(np.random.default_rng(0), 4, (3, 3)))
    for found in (
        measures.evr(axis, LEVELS),
        measures.expected_isotropic(4, LEVELS),
        measures.expected_norms(axis, LEVELS),
        measures.unit_norm_evr(axis, LEVELS),
        measures.expected_unit_norm(axis, LEVELS),
    ):
        assert np.isnan(found).tolist() == [False, False, True, True]


def test_members_that_do_not_differ_have_no_spectrum():
    axis = axis_of(np.stack([np.zeros((3, 3)), -np.zeros((3, 3))]))
    assert np.isnan(measures.evr(axis, (1,))).all()
    assert measures.participation_ratio(axis) is None
