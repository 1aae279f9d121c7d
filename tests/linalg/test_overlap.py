"""Overlaps of many subspaces against the definition, on every device."""

import numpy as np
import pytest

from spectra.backend.device import to_host
from spectra.linalg.overlap import block_sums, frobenius_overlap, tiles
from tests.seam import device  # noqa: F401 - a fixture

RNG = np.random.default_rng(3)


def test_block_sums(device):
    M = RNG.standard_normal((6, 9))
    expected = [
        [M[3 * i : 3 * i + 3, 3 * j : 3 * j + 3].sum() for j in range(3)]
        for i in range(2)
    ]
    found = to_host(block_sums(device.put(M), 2, 3, 3))
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("tile", [2, 3, 32])
def test_frobenius_overlap_is_the_sum_of_squared_cosines(device, tile):
    bases = [np.linalg.qr(RNG.standard_normal((20, 3)))[0] for _ in range(5)]
    F = np.stack([Q.T for Q in bases])
    found = frobenius_overlap(device.put(F), tile=tile)
    expected = [[np.linalg.norm(P.T @ Q) ** 2 for Q in bases] for P in bases]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_allclose(np.diag(found), 3, atol=1e-12)


def test_random_subspaces_overlap_by_chance_alone():
    d, k, n = 256, 16, 12
    bases = [np.linalg.qr(RNG.standard_normal((d, k)))[0] for _ in range(n)]
    found = frobenius_overlap(np.stack([Q.T for Q in bases])) / k
    pairs = found[np.triu_indices(n, 1)]
    assert abs(pairs.mean() - k / d) < 0.002


def test_tiles_cover_each_pair_once():
    seen = np.zeros((7, 7), int)
    for a, b in tiles(7, 3):
        seen[a, b] += 1
    assert (seen[np.triu_indices(7)] == 1).all()
