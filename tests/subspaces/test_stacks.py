"""Products of factored maps: from directions, and from entries."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from spectra.backend.device import CPU
from spectra.backend.memory import Budget
from spectra.subspaces import lowrank, stacks
from spectra.subspaces.products import Pass
from spectra.subspaces.stacks import (
    Stack,
    factored_products,
    streamed_products,
)
from tests.seam import device  # noqa: F401 - a fixture


def drawn(device, n, r, out, d):
    """Return random decompositions; the first lacks its last direction."""
    rng = np.random.default_rng(0)
    U, V = (
        np.linalg.qr(rng.standard_normal((n, width, r)))[0].transpose(0, 2, 1)
        for width in (out, d)
    )
    s = np.sort(rng.random((n, r)) + 0.1, axis=1)[:, ::-1].copy()
    s[0, -1] = U[0, -1] = V[0, -1] = 0
    return Stack(device.put(U.copy()), device.put(V.copy()), s)


@pytest.mark.parametrize("tile", [3, 128])
def test_both_ways_give_the_same(device, monkeypatch, tile):
    monkeypatch.setattr(stacks, "_TILE", tile)
    stack = drawn(device, 5, 6, 9, 7)
    one = factored_products(stack, 6, dtype=np.float64)
    other = streamed_products(stack, 6, dtype=np.float64)
    assert_allclose(other.inner, one.inner, atol=1e-13)
    assert_allclose(other.rows, one.rows, atol=1e-13)
    assert_allclose(other.input.overlap, one.input.overlap)


@pytest.mark.parametrize(
    ("rank", "entries"), [(1, False), (19, False), (20, True), (30, True)]
)
def test_large_ranks_go_by_their_entries(monkeypatch, rank, entries):
    """Of 4 maps of 40 x 32 they cost the same at a rank between 19 and 20."""
    called = []

    def spy(name):
        real = getattr(stacks, name)

        def run(stack, k, /, *, dtype):
            called.append(name)
            return real(stack, k, dtype=dtype)

        monkeypatch.setattr(lowrank, name, run)

    spy("factored_products")
    spy("streamed_products")
    stack = drawn(CPU, 4, rank, 40, 32)
    how = Pass(
        rank=2, device=CPU, dtype=np.float64, budget=Budget(2**30),
        save=False, spill=Path(),
    )  # fmt: skip
    lowrank._products(stack, how)
    assert called == ["streamed_products" if entries else "factored_products"]
