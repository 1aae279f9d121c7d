"""Streamed inner products against the whole matrix at once."""

import numpy as np
import pytest

from spectra.backend.device import CPU, to_host
from spectra.linalg.gram import double_centred
from spectra.subspaces import inner
from spectra.subspaces.inner import inner_products
from tests.seam import device  # noqa: F401 - a fixture

RNG = np.random.default_rng(3)


def source(X):
    """Return what reads the rows of X."""

    def fill(row, start, stop, out):
        out[:] = X[row, start:stop]

    return fill


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("size", [700, 3 * 2048 + 5])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_against_all_at_once(device, monkeypatch, threads, size, dtype):
    monkeypatch.setattr(inner, "_ENTRIES", 1)
    X = (RNG.standard_normal((9, size)) + 10).astype(dtype)
    found = inner_products(source(X), 9, size, device, dtype, threads=threads)
    Y = X.astype(float) - X.astype(float).mean(axis=0)
    K = double_centred(found.inner)
    np.testing.assert_allclose(K, Y @ Y.T, rtol=0, atol=1e-6 * size)
    gram = found.inner + found.h[:, None] + found.h + found.energy
    exact = X.astype(float) @ X.astype(float).T
    np.testing.assert_allclose(gram, exact, rtol=1e-7)
    np.testing.assert_allclose(to_host(found.inner), found.inner.T)


def test_threads_do_not_change_a_bit():
    X = RNG.standard_normal((80, 5 * 16_384 + 3)).astype(np.float32)
    one, two, five = (
        inner_products(source(X), 80, X.shape[1], CPU, np.float32, threads=t)
        for t in (1, 2, 5)
    )
    for other in (two, five):
        assert (one.inner == other.inner).all()
        assert (one.h == other.h).all()
        assert one.energy == other.energy
