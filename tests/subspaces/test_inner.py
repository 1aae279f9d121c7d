"""Streamed inner products against the whole matrix at once."""

import numpy as np
import pytest

from spectra.backend.device import CPU, to_host
from spectra.linalg.gram import double_centred
from spectra.subspaces import inner
from spectra.subspaces.inner import inner_products
from spectra.weights.kept import KeptMaps, keeping
from tests.checkpoints import DTYPES
from tests.seam import device  # noqa: F401 - a fixture

RNG = np.random.default_rng(3)


def kept(X, dtypes=("F32",), *, dtype=np.float32, base=None):
    """Return the rows of X as maps, stored in these dtypes in turn."""
    with keeping(8 * X.size, folder=None) as store:
        maps = KeptMaps(store, dtype, base)
        for i, row in enumerate(X):
            stored = dtypes[i % len(dtypes)]
            raw = np.ascontiguousarray(row.astype(DTYPES[stored]))
            maps.add(raw.view(np.uint8), stored, row.size)
        return maps


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("size", [700, 3 * 2048 + 5])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_against_all_at_once(device, monkeypatch, threads, size, dtype):
    monkeypatch.setattr(inner, "_ENTRIES", 1)
    X = (RNG.standard_normal((9, size)) + 10).astype(dtype)
    stored = {"float32": "F32", "float64": "F64"}[dtype]
    maps = kept(X, (stored,), dtype=dtype)
    found = inner_products(maps, size, device, dtype, threads=threads)
    Y = X.astype(float) - X.astype(float).mean(axis=0)
    K = double_centred(found.inner)
    np.testing.assert_allclose(K, Y @ Y.T, rtol=0, atol=1e-6 * size)
    gram = found.inner + found.h[:, None] + found.h + found.energy
    exact = X.astype(float) @ X.astype(float).T
    np.testing.assert_allclose(gram, exact, rtol=1e-7)
    np.testing.assert_allclose(to_host(found.inner), found.inner.T)


@pytest.mark.parametrize("n", [9, 70])
@pytest.mark.parametrize("beside", [False, True], ids=["alone", "base"])
@pytest.mark.parametrize(
    "dtypes", [("BF16",), ("F16",), ("BF16", "F32")], ids="-".join
)
def test_words_widened_on_a_device(device, monkeypatch, n, beside, dtypes):
    """As they are stored, less a base that is kept in float32."""
    monkeypatch.setattr(inner, "_ENTRIES", 1)
    size = 2 * 2048 + 77
    base = RNG.standard_normal(size).astype(np.float32) if beside else None
    X = RNG.standard_normal((n, size))
    maps = kept(X, dtypes, base=base)
    found = inner_products(maps, size, device, np.float32)
    stored = [
        row.astype(DTYPES[dtypes[i % len(dtypes)]]).astype(float)
        for i, row in enumerate(X)
    ]
    Y = np.stack(stored) - (0 if base is None else base.astype(float))
    gram = found.inner + found.h[:, None] + found.h + found.energy
    np.testing.assert_allclose(gram, Y @ Y.T, rtol=0, atol=1e-6 * size)
    np.testing.assert_allclose(np.diag(gram), (Y**2).sum(axis=1), rtol=1e-6)


def test_threads_do_not_change_a_bit():
    X = RNG.standard_normal((80, 5 * 16_384 + 3)).astype(np.float32)
    maps = kept(X)
    one, two, five = (
        inner_products(maps, X.shape[1], CPU, np.float32, threads=t)
        for t in (1, 2, 5)
    )
    for other in (two, five):
        assert (one.inner == other.inner).all()
        assert (one.h == other.h).all()
        assert one.energy == other.energy
