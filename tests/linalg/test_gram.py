"""Gram matrices and their spectra, on every device."""

import numpy as np
import pytest

from spectra.backend.device import to_host
from spectra.linalg.gram import (
    accurate_gram,
    double_centred,
    eigenpairs,
    gram,
)
from tests.seam import device  # noqa: F401 - a fixture

RNG = np.random.default_rng(1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gram_is_float64_and_close_to_the_exact_products(device, dtype):
    X = RNG.standard_normal((7, 500)).astype(dtype)
    G = to_host(gram(device.put(X)))
    exact = X.astype("f8") @ X.astype("f8").T
    assert G.dtype == np.float64
    tolerance = 1e-6 if dtype == "float32" else 1e-13
    np.testing.assert_allclose(G, exact, atol=tolerance * exact.max())


def test_double_centring_is_the_gram_matrix_of_centred_vectors(device):
    X = RNG.standard_normal((6, 40)) + 5
    centred = X - X.mean(axis=0)
    K = to_host(double_centred(device.put(X @ X.T)))
    np.testing.assert_allclose(K, centred @ centred.T, atol=1e-11)


def test_leading_eigenpairs_come_largest_first(device):
    C = np.diag([1.0, 5.0, 3.0])
    values, V = map(to_host, eigenpairs(device.put(C), 2))
    np.testing.assert_allclose(values, [5, 3], rtol=1e-14)
    np.testing.assert_allclose(np.abs(V), [[0, 0], [1, 0], [0, 1]], atol=1e-12)
    assert to_host(eigenpairs(device.put(C), 9)[1]).shape == (3, 3)


@pytest.mark.parametrize("kind", ["tail", "copies", "few"])
def test_of_a_large_matrix_they_come_from_products(device, monkeypatch, kind):
    """The same to all digits as by reduction, whatever the multiplicities."""
    monkeypatch.setattr("spectra.linalg.gram._LARGE", 100)
    n, k = 150, 10
    Q = np.linalg.qr(RNG.standard_normal((n, n)))[0]
    spectrum = np.arange(1, n + 1) ** -0.5
    if kind == "copies":
        spectrum = np.repeat(spectrum[: n // 3], 3)
    if kind == "few":
        spectrum[12:] = 0
    C = (Q * spectrum) @ Q.T
    values, V = map(to_host, eigenpairs(device.put(C), k, keep=20))
    assert V.shape == (n, 20)
    assert k <= len(values) <= 20
    np.testing.assert_allclose(values, spectrum[: len(values)], atol=1e-13)
    np.testing.assert_allclose(V.T @ V, np.eye(20), atol=1e-12)
    residual = C @ V[:, :k] - V[:, :k] * values[:k]
    assert np.abs(residual).max() < 1e-7


def test_what_does_not_settle_is_left_to_the_reduction(monkeypatch):
    monkeypatch.setattr("spectra.linalg.gram._LARGE", 10)
    monkeypatch.setattr("spectra.linalg.krylov._PASSES", 1)
    X = RNG.standard_normal((80, 300))
    values, _ = eigenpairs(X @ X.T, 6)
    expected = np.linalg.eigvalsh(X @ X.T)[::-1][:6]
    np.testing.assert_allclose(values, expected, rtol=1e-12)


@pytest.mark.parametrize("size", [16_384, 16_000 + 17])
def test_accurate_norms_do_not_take_part_in_the_rounding(device, size):
    X = RNG.standard_normal((5, size)).astype(np.float32)
    found = np.diag(to_host(accurate_gram(device.put(X))))
    np.testing.assert_allclose(found, (X.astype(float) ** 2).sum(1), rtol=5e-8)
