"""Truncated decompositions against numpy.linalg.svd, on every device."""

import numpy as np
import pytest

from spectra.backend.device import to_host
from spectra.linalg import svd
from spectra.linalg.krylov import beside
from spectra.linalg.svd import block_krylov, factored_svd, gram_svd
from tests.seam import device, sine  # noqa: F401 - a fixture

RNG = np.random.default_rng(2)


def heavy_tailed(m, n, dtype="float64"):
    """Return a matrix whose spectrum falls like i^-0.45, as weights' do."""
    U = np.linalg.qr(RNG.standard_normal((m, m)))[0]
    V = np.linalg.qr(RNG.standard_normal((n, m)))[0]
    s = np.arange(1, m + 1) ** -0.45
    return ((U * s) @ V.T).astype(dtype)


def check(X, found, k, sigma, angle):
    U, s, V = map(to_host, found)
    left, values, right = np.linalg.svd(X.astype("f8"), full_matrices=False)
    np.testing.assert_allclose(s, values[:k], rtol=sigma)
    assert sine(left[:, :k], U) < angle
    assert sine(right[:k].T, V) < angle
    np.testing.assert_allclose(U.T @ U, np.eye(k), atol=1e-5)
    np.testing.assert_allclose(V.T @ V, np.eye(k), atol=1e-5)
    # Signs belong together: U diag(s) V.T approximates X, not -X.
    assert np.linalg.norm(X - (U * s) @ V.T, 2) < 1.01 * values[k]


@pytest.mark.parametrize(
    ("dtype", "sigma", "angle"),
    [("float32", 1e-6, 1e-3), ("float64", 1e-12, 1e-7)],
)
def test_gram_svd(device, dtype, sigma, angle):
    X = heavy_tailed(60, 90, dtype)
    x = device.put(X)
    C = device.put(X.astype("f8") @ X.astype("f8").T)
    check(X, gram_svd(x, C, 8), 8, sigma, angle)


@pytest.mark.parametrize(
    ("dtype", "sigma", "angle"),
    [("float32", 1e-6, 2e-3), ("float64", 1e-9, 1e-5)],
)
def test_block_krylov(device, dtype, sigma, angle):
    X = heavy_tailed(300, 400, dtype)
    check(X, block_krylov(device.put(X), 8), 8, sigma, angle)


@pytest.mark.parametrize(
    ("dtype", "angle"), [("float32", 4e-4), ("float64", 2e-8)]
)
@pytest.mark.parametrize(("power", "most"), [(0.45, 20), (2.0, 6)])
def test_block_krylov_ends_when_it_is_exact_enough(
    monkeypatch, dtype, angle, power, most
):
    U = np.linalg.qr(RNG.standard_normal((600, 600)))[0]
    V = np.linalg.qr(RNG.standard_normal((700, 600)))[0]
    X = ((U * np.arange(1.0, 601) ** -power) @ V.T).astype(dtype)
    blocks = []

    def counted(Q, Y):
        blocks.append(Q.shape[1])
        return beside(Q, Y)

    monkeypatch.setattr(svd, "beside", counted)
    left, _, right = block_krylov(X, 8, depth=20)
    assert sine(U[:, :8], left) < angle
    assert sine(V[:, :8], right) < angle
    assert len(blocks) < most
    # Of noise no direction settles.
    blocks.clear()
    block_krylov(RNG.standard_normal((600, 700)).astype(dtype), 8, depth=9)
    assert len(blocks) == 9


def test_block_krylov_is_exact_where_its_space_is_everything():
    X = heavy_tailed(30, 40)
    check(X, block_krylov(X, 8), 8, 1e-12, 1e-7)


@pytest.mark.parametrize(
    ("m", "n", "r"), [(50, 70, 4), (70, 50, 1), (5, 4, 4), (5, 4, 9)]
)
def test_factored_svd_is_that_of_the_product(device, m, n, r):
    A, B = RNG.standard_normal((r, n)), RNG.standard_normal((m, r))
    U, s, V = map(
        to_host, factored_svd(device.put(A), device.put(B), scale=-2.0)
    )
    np.testing.assert_allclose((U * s) @ V.T, -2 * B @ A, atol=1e-12)
    assert (np.diff(s) <= 0).all()
    assert (s >= 0).all()


def test_factored_svd_of_untrained_factors_is_zero():
    _, s, _ = factored_svd(np.ones((3, 9)), np.zeros((8, 3)), scale=2.0)
    assert s.tolist() == [0, 0, 0]
