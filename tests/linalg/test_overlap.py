"""Overlaps of many subspaces against the definition, on every device."""

import numpy as np
import pytest
from scipy.linalg import subspace_angles

from spectra.backend.device import to_host
from spectra.linalg import overlap
from spectra.linalg.overlap import (
    block_sums,
    frobenius_overlap,
    pair_sums,
    tiles,
)
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


def padded(ranks, d=20, k=3):
    """Return bases of those ranks, their rows padded with zeros to k."""
    F = np.zeros((len(ranks), k, d))
    for i, q in enumerate(ranks):
        F[i, :q] = np.linalg.qr(RNG.standard_normal((d, q)))[0].T
    return F, np.array(ranks)


@pytest.mark.parametrize("tile", [2, 3, 32])
def test_angles_of_every_pair_are_scipys(device, tile):
    F, ranks = padded([3, 3, 2, 0, 1, 3])
    found = pair_sums(device.put(F), ranks, tile=tile)
    cosines, number = np.zeros(3), np.zeros(3)
    for i in range(6):
        for j in range(6):
            q = min(ranks[i], ranks[j])
            P, Q = F[i, : ranks[i]].T, F[j, : ranks[j]].T
            angles = np.zeros(0) if q == 0 else subspace_angles(P, Q)
            expected = 0.0 if i == j else np.linalg.norm(angles)
            assert abs(found.angles.geodesic[i, j] - expected) < 1e-7
            overlap = np.sum(np.cos(angles) ** 2)
            assert abs(found.overlap[i, j] - overlap) < 1e-12
            if i < j:
                cosines[:q] += np.sort(np.cos(angles))[::-1]
                number[:q] += 1
    np.testing.assert_allclose(
        found.angles.mean_cosines, cosines / number, atol=1e-12
    )


@pytest.mark.parametrize("tile", [2, 5])
def test_phi_is_the_mean_over_pairs_of_squared_products(device, tile):
    F, ranks = padded([3, 2, 3, 1, 3])
    found = pair_sums(device.put(F), ranks, tile=tile).phi
    expected = np.zeros((3, 3))
    for i in range(5):
        for j in range(5):
            if i != j:
                expected += (F[i] @ F[j].T) ** 2 / 20
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_angles_of_many_are_left_out(monkeypatch):
    monkeypatch.setattr(overlap, "ANGLES", 4)
    F, ranks = padded([3] * 5)
    assert pair_sums(F, ranks).angles is None
    assert pair_sums(F[:4], ranks[:4]).angles is not None
