"""Spectra of stacks of directions, on every device."""

import numpy as np
import pytest

from spectra.backend.device import to_host
from spectra.linalg.stacked import stack_eigenpairs
from tests.seam import device, sine  # noqa: F401 - a fixture

RNG = np.random.default_rng(1)


@pytest.fixture(params=[5120, 3], ids=["small", "wide"])
def wide(request, monkeypatch):
    """Run a test with the explicit matrix, then with products alone."""
    monkeypatch.setattr("spectra.linalg.stacked.WIDE", request.param)


@pytest.mark.parametrize("shape", [(5, 30), (30, 5)])
def test_stack_spectrum_is_that_of_the_covariance(device, shape, wide):
    T = RNG.standard_normal(shape)
    values = to_host(stack_eigenpairs(device.put(T), 4)[0])
    expected = np.linalg.svd(T, compute_uv=False)[:4] ** 2
    np.testing.assert_allclose(values, expected, rtol=1e-12)


@pytest.mark.parametrize("shape", [(9, 30), (30, 9)])
def test_stack_directions_span_the_leading_right_vectors(device, shape, wide):
    T = RNG.standard_normal(shape) * np.arange(1, shape[1] + 1)
    V = to_host(stack_eigenpairs(device.put(T), 3)[1])
    expected = np.linalg.svd(T)[2][:3].T
    assert sine(expected, V) < 1e-7
    np.testing.assert_allclose(V.T @ V, np.eye(3), atol=1e-12)
