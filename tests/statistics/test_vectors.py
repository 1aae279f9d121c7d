import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from spectra.statistics.vectors import centred, deviation_norms, deviations
from tests.reference.naive import naive_fit, ulp
from tests.statistics.planted import fit_of, strong


@given(st.integers(2, 9), st.integers(0, 99))
def test_centring_is_that_of_explicit_vectors(n, seed):
    X = np.random.default_rng(seed).standard_normal((n, 30))
    Y = X - X.mean(axis=0)
    assert_allclose(centred(X @ X.T), Y @ Y.T, atol=1e-12)


@pytest.mark.parametrize("n", [3, 4, 50])
def test_deviation_norms_of_orthogonal_updates_of_any_base(n):
    rng = np.random.default_rng(n)
    Q, _ = np.linalg.qr(rng.standard_normal((200, n)))
    norms = np.exp(rng.standard_normal(n))
    X = norms[:, None] * Q.T + 7 * rng.standard_normal(200)
    assert_allclose(deviation_norms(centred(X @ X.T)), norms**2, rtol=1e-9)


def test_two_members_have_no_deviation_norms():
    assert deviation_norms(centred(np.eye(2))) is None


def test_deviation_norms_are_never_negative():
    # One member at the centre of the others: less than nothing is its own.
    X = np.vstack([np.eye(6), -np.eye(6), np.zeros((1, 6))])
    norms = deviation_norms(centred(X @ X.T))
    assert norms[-1] == 0.0
    assert (norms[:-1] > 0).all()


def test_small_differences_keep_their_digits_beside_a_large_base():
    rng = np.random.default_rng(0)
    base, moves = 1e6 * strong(rng, 1), strong(rng, 8)
    fit = naive_fit(
        {f"m{i}": {"l": x} for i, x in enumerate(base + 1e-3 * moves)}
    )
    X = (base + 1e-3 * moves).reshape(8, -1)
    expected = np.linalg.svd(X - X.mean(axis=0), compute_uv=False)[:7] ** 2
    axis = deviations(fit.layers[0], [f"m{i}" for i in range(8)])
    assert_allclose(axis.eigenvalues, expected, rtol=1e-5)


@pytest.mark.parametrize("shape", [(64, 64), (8, 10)])
def test_the_floor_is_where_the_noise_of_storage_ends(shape):
    rng = np.random.default_rng(3)
    maps = rng.standard_normal((60, *shape))
    stored = maps.astype(np.float16)
    noise = fit_of(stored.astype(float) - maps).layers[0]
    q = np.array([np.sum(ulp(x) ** 2) / 12 for x in stored])
    layer = type(noise)(
        **{f: getattr(noise, f) for f in noise.__slots__} | {"rounding": q}
    )
    axis = deviations(layer, [f"m{i:03d}" for i in range(60)])
    assert 0.85 < axis.eigenvalues[0] / axis.floor < 1.05


def test_the_floor_is_never_below_the_arithmetic():
    fit = fit_of(strong(np.random.default_rng(0), 5), resolution=7e-9)
    axis = deviations(fit.layers[0], "abcde")
    assert_allclose(axis.floor, 7e-9 * axis.eigenvalues[0])


def test_a_subset_deviates_from_its_own_mean():
    maps = strong(np.random.default_rng(0), 9) + 0.3
    axis = deviations(fit_of(maps).layers[0], [f"m{i}" for i in range(9)])
    part = axis.subset([1, 4, 5, 8])
    X = maps[[1, 4, 5, 8]].reshape(4, -1)
    Y = X - X.mean(axis=0)
    assert_allclose(part.K, Y @ Y.T, atol=1e-12)
    expected = np.linalg.svd(Y, compute_uv=False)[:3] ** 2
    assert_allclose(part.eigenvalues, expected)
    assert_allclose(part.energies, np.sum(X**2, axis=1))
    assert part.members == (1, 4, 5, 8)
    assert part.floor == axis.floor


def test_members_stand_in_the_order_of_their_ids():
    maps = strong(np.random.default_rng(0), 4)
    fit = fit_of(maps)
    axis = deviations(fit.layers[0], ["d", "a", "c", "b"])
    assert axis.members == (1, 3, 2, 0)
    X = maps[[1, 3, 2, 0]].reshape(4, -1)
    Y = X - X.mean(axis=0)
    assert_allclose(axis.K, Y @ Y.T, atol=1e-12)
