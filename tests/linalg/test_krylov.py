"""Eigenpairs from products alone, against numpy.linalg.eigh."""

import numpy as np
import pytest

from spectra.backend.device import to_host
from spectra.linalg.krylov import leading_eigenpairs, starting_block
from tests.seam import device, sine  # noqa: F401 - a fixture

RNG = np.random.default_rng(4)

SPECTRA = {
    "flat": lambda d: RNG.standard_normal((d, 4 * d)),
    "tail": lambda d: (
        np.arange(1, d + 1)[:, None] ** -0.5 * RNG.standard_normal((d, 2 * d))
    ),
    "few": lambda d: RNG.standard_normal((d, 5)) @ RNG.standard_normal((5, d)),
    "planted": lambda d: np.hstack(
        [30 * RNG.standard_normal((d, 3)), RNG.standard_normal((d, d))]
    ),
    "zero": lambda d: np.zeros((d, d)),
}


def covariance(kind, d):
    X = SPECTRA[kind](d)
    return X @ X.T


def solve(device, C, k, tolerance, start=None):
    c = device.put(C)
    passes = []

    def apply(X):
        passes.append(X.shape[1])
        return c @ X

    guess = device.put(np.zeros((len(C), 0)) if start is None else start)
    found = leading_eigenpairs(
        apply, starting_block(guess, k + 16), k, tolerance=tolerance
    )
    return *map(to_host, found), len(passes)


@pytest.mark.parametrize("kind", SPECTRA)
@pytest.mark.parametrize("tolerance", [1e-6, 1e-12])
def test_against_eigh(device, kind, tolerance):
    C = covariance(kind, 300)
    values, vectors, _ = solve(device, C, 20, tolerance)
    expected = np.linalg.eigvalsh(C)[::-1][:20]
    assert len(values) == 20
    assert np.abs(values - expected).max() <= tolerance * expected[0]
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(20), atol=1e-10)
    np.testing.assert_allclose(
        (vectors * (C @ vectors)).sum(axis=0),
        values,
        atol=1e-10 * max(expected[0], 1),
    )


def test_vectors_of_a_planted_subspace(device):
    C = covariance("planted", 300)
    _, vectors, _ = solve(device, C, 3, 1e-12)
    expected = np.linalg.eigh(C)[1][:, ::-1][:, :3]
    assert sine(expected, vectors) < 1e-6


def test_a_good_start_saves_passes(device):
    C = covariance("planted", 300)
    lead = np.linalg.eigh(C)[1][:, ::-1][:, :19].copy()
    assert solve(device, C, 3, 1e-6, lead)[2] < solve(device, C, 3, 1e-6)[2]


def test_what_did_not_settle_is_left_out(device, monkeypatch):
    """One pass is enough for the planted directions, not for the others."""
    monkeypatch.setattr("spectra.linalg.krylov._PASSES", 3)
    C = covariance("planted", 300)
    values, vectors, _ = solve(device, C, 40, 1e-9)
    expected = np.linalg.eigvalsh(C)[::-1][: len(values)]
    assert 3 <= len(values) < 40
    assert vectors.shape == (300, 40)
    assert np.abs(values - expected).max() <= 1e-9 * expected[0]


@pytest.mark.parametrize("d", [6, 20, 41])
def test_a_space_that_is_everything_is_exact(device, d):
    C = covariance("tail", d)
    values, _, _ = solve(device, C, min(d, 20), 1e-12)
    expected = np.linalg.eigvalsh(C)[::-1][:20]
    np.testing.assert_allclose(values, expected, atol=1e-12 * expected[0])
