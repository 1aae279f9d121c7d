"""Gram matrices and spectra of stacks, on every device."""

import numpy as np
import pytest

from spectra.backend.device import to_host
from spectra.linalg.gram import (
    double_centred,
    gram,
    largest_eigenvalues,
    leading_eigenvectors,
    stack_directions,
    stack_spectrum,
)
from tests.seam import device, sine  # noqa: F401 - a fixture

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


@pytest.mark.parametrize("shape", [(5, 30), (30, 5)])
def test_stack_spectrum_is_that_of_the_covariance(device, shape):
    T = RNG.standard_normal(shape)
    values = to_host(stack_spectrum(device.put(T), 4))
    expected = np.linalg.svd(T, compute_uv=False)[:4] ** 2
    np.testing.assert_allclose(values, expected, rtol=1e-12)


@pytest.mark.parametrize("shape", [(9, 30), (30, 9)])
def test_stack_directions_span_the_leading_right_vectors(device, shape):
    T = RNG.standard_normal(shape) * np.arange(1, shape[1] + 1)
    V = to_host(stack_directions(device.put(T), 3))
    expected = np.linalg.svd(T)[2][:3].T
    assert sine(expected, V) < 1e-7
    np.testing.assert_allclose(V.T @ V, np.eye(3), atol=1e-12)


def test_leading_eigenpairs_come_largest_first(device):
    C = np.diag([1.0, 5.0, 3.0])
    assert to_host(largest_eigenvalues(device.put(C), 2)).tolist() == [5, 3]
    V = to_host(leading_eigenvectors(device.put(C), 2))
    np.testing.assert_allclose(np.abs(V), [[0, 0], [1, 0], [0, 1]], atol=1e-12)
