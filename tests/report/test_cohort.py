"""Checkpoints beside one another: means over layers, and their plane."""

import dataclasses

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from sklearn.decomposition import KernelPCA

from spectra.report.cohort import Cohort, plane
from spectra.report.pairs import MEASURES
from spectra.subspaces.result import PopulationFit

WITHOUT = [i for i in range(20) if i not in {0, 7}]


@pytest.fixture
def cohort(fit: PopulationFit) -> Cohort:
    """Return two of three layers, of which one lacks two members."""
    layer = fit.layers[1]
    part = dataclasses.replace(
        layer,
        members=tuple(WITHOUT),
        inner=layer.inner[np.ix_(WITHOUT, WITHOUT)],
        h=np.zeros(len(WITHOUT)),
    )
    found = Cohort(20, 3)
    found.add(0, fit.layers[0])
    found.add(2, part)
    return found


def test_means_are_over_the_layers_that_both_have(
    cohort: Cohort, fit: PopulationFit
) -> None:
    first, second = (MEASURES[0].matrix(fit.layers[i]) for i in (0, 1))
    mean = cohort.mean()
    assert mean[0, 5] == pytest.approx(first[0, 5])
    assert mean[4, 5] == pytest.approx((first[4, 5] + second[4, 5]) / 2)
    assert np.isnan(np.diagonal(mean)).all()


def test_the_mean_with_the_others_is_without_oneself(
    cohort: Cohort, fit: PopulationFit
) -> None:
    second = MEASURES[0].matrix(fit.layers[1])
    others = [i for i in WITHOUT if i != 3]
    expected = second[3, others].mean()
    assert cohort.to_others[2, 3] == pytest.approx(expected)
    assert np.isnan(cohort.to_others[2, [0, 7]]).all()
    assert np.isnan(cohort.to_others[1]).all()


def test_a_member_without_a_direction_has_no_cosine(
    fit: PopulationFit,
) -> None:
    inner = fit.layers[0].inner.copy()
    inner[6] = inner[:, 6] = 0
    found = Cohort(20, 1)
    found.add(0, dataclasses.replace(fit.layers[0], inner=inner))
    assert np.isnan(found.to_others[0, 6])
    assert np.isnan(found.mean()[6]).all()
    others = [i for i in range(1, 20) if i != 6]
    expected = MEASURES[0].matrix(fit.layers[0])[0, others].mean()
    assert found.to_others[0, 0] == pytest.approx(expected)


def test_the_plane_is_that_of_kernel_principal_components(
    cohort: Cohort,
) -> None:
    cosines = cohort.mean()
    inner = cosines.copy()
    np.fill_diagonal(inner, 1.0)
    twin = KernelPCA(n_components=2, kernel="precomputed").fit(inner)
    found = plane(cosines)
    assert found is not None
    np.testing.assert_allclose(
        pdist(found.places), pdist(twin.transform(inner)), atol=1e-9
    )
    every = KernelPCA(kernel="precomputed", remove_zero_eig=True).fit(inner)
    total = every.eigenvalues_[every.eigenvalues_ > 0].sum()
    np.testing.assert_allclose(found.share, twin.eigenvalues_ / total)


def test_members_at_equal_distances_fill_no_plane() -> None:
    found = plane(np.where(np.eye(12, dtype=bool), np.nan, 0.0))
    assert found is not None
    assert found.chance == pytest.approx(2 / 11)
    assert sum(found.share) == pytest.approx(found.chance)


def test_who_has_no_layer_with_others_has_no_place() -> None:
    rng = np.random.default_rng(0)
    cosines = np.corrcoef(rng.standard_normal((6, 40)))
    np.fill_diagonal(cosines, np.nan)
    cosines[2] = cosines[:, 2] = np.nan
    found = plane(cosines)
    assert found is not None
    assert np.isnan(found.places[2]).all()
    assert np.isfinite(np.delete(found.places, 2, 0)).all()


@pytest.mark.parametrize(
    "cosines",
    [np.zeros((2, 2)), np.full((5, 5), np.nan), np.ones((4, 4))],
    ids=["two", "nothing known", "all the same"],
)
def test_there_may_be_no_plane(cosines: np.ndarray) -> None:
    assert plane(cosines) is None
