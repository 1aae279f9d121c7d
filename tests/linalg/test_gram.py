"""Gram matrices and their spectra, on every device."""

import numpy as np
import pytest

from spectra.backend.device import to_host
from spectra.linalg.gram import double_centred, eigenpairs, gram
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
