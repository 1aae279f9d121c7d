"""Spectra of stacks of directions, on every device."""

import numpy as np
import pytest

from spectra.backend.device import to_host
from spectra.linalg.stacked import Rows, stack_eigenpairs
from tests.seam import device, sine  # noqa: F401 - a fixture

RNG = np.random.default_rng(1)


@pytest.fixture(params=[1536, 3], ids=["small", "wide"])
def wide(request, monkeypatch):
    """Run a test with the explicit matrix, then with products alone."""
    monkeypatch.setattr("spectra.linalg.stacked.NARROW", request.param)


def rows(device, T):
    """Return T as a stack of one direction a member, all of weight one."""
    return Rows(device.put(T[:, None, :].copy()))


@pytest.mark.parametrize("shape", [(5, 30), (30, 5)])
def test_stack_spectrum_is_that_of_the_covariance(device, shape, wide):
    T = RNG.standard_normal(shape)
    values = to_host(stack_eigenpairs(rows(device, T), 4)[0])
    expected = np.linalg.svd(T, compute_uv=False)[:4] ** 2
    np.testing.assert_allclose(values, expected, rtol=1e-12)


@pytest.mark.parametrize("shape", [(9, 30), (30, 9)])
def test_stack_directions_span_the_leading_right_vectors(device, shape, wide):
    T = RNG.standard_normal(shape) * np.arange(1, shape[1] + 1)
    V = to_host(stack_eigenpairs(rows(device, T), 3)[1])
    expected = np.linalg.svd(T)[2][:3].T
    assert sine(expected, V) < 1e-7
    np.testing.assert_allclose(V.T @ V, np.eye(3), atol=1e-12)


@pytest.mark.parametrize("panel", [1, 100, 2**19])
@pytest.mark.parametrize("without", [0, 2])
def test_weights_and_removed_directions(
    device, wide, panel, without, monkeypatch
):
    """Against T with its rows scaled and projected, which is never made."""
    monkeypatch.setattr("spectra.linalg.stacked._PANEL", panel)
    F = RNG.standard_normal((7, 3, 12))
    weights = RNG.random((7, 3))
    lead = np.linalg.qr(RNG.standard_normal((12, 2)))[0][:, :without]
    T = (F * weights[:, :, None]).reshape(21, 12)
    T = T - T @ lead @ lead.T
    stack = Rows(*map(device.put, (F, weights, lead)))
    values, vectors = map(to_host, stack_eigenpairs(stack, 4, keep=6))
    expected = np.linalg.svd(T)
    np.testing.assert_allclose(values[:4], expected[1][:4] ** 2, rtol=1e-12)
    assert sine(expected[2][:4].T, vectors[:, :4]) < 1e-7
    assert vectors.shape == (12, 6)
    X = RNG.standard_normal((12, 2))
    found = to_host(stack.apply(device.put(X)))
    np.testing.assert_allclose(found, T.T @ (T @ X), atol=1e-12)
    panels = np.concatenate([to_host(p) for p in stack.panels(panel)])
    np.testing.assert_allclose(panels, T, atol=1e-12)
