"""Intruder dimensions against explicit decompositions."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from spectra.subspaces import intruders
from spectra.subspaces.intruders import (
    added_intruders,
    intruders_of,
    tried,
)
from tests.reference.naive import intruders as naive_intruders
from tests.seam import device  # noqa: F401 - a fixture

SHAPES = [(40, 40), (30, 70), (70, 30), (6, 9)]


def decayed(rng, shape, power=1.0):
    """Return a base whose singular values fall like those of a trained one."""
    U, _, V = np.linalg.svd(rng.standard_normal(shape), full_matrices=False)
    s = np.arange(1.0, min(shape) + 1) ** -power
    return (U * s) @ V, U, s, V.T


def coordinates(x, r, U, V):
    left, s, right = np.linalg.svd(x, full_matrices=False)
    return left[:, :r].T @ U, right[:r] @ V, s[:r]


def spread_out(U):
    """Return the direction that is as near to every column of U."""
    return U.sum(axis=1) / np.sqrt(U.shape[1])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("strength", [0.01, 0.3, 2.0])
def test_counts_are_those_of_explicit_decompositions(device, shape, strength):
    rng, counts = np.random.default_rng(7), []
    W, U, s, V = decayed(rng, shape)
    for r in (1, 2, 5):
        x = rng.standard_normal((shape[0], r)) @ rng.standard_normal(
            (r, shape[1])
        )
        x *= strength / np.linalg.norm(x, 2)
        expected = naive_intruders(W, x, U)
        a, b, own = map(device.put, coordinates(x, r, U, V))
        found = added_intruders(device.put(s), a, b, own)
        whole = intruders_of(device.put(W + x), device.put(U))
        assert found == whole == expected
        counts.append(expected)
    # Weak updates bring none; each strong direction brings about one.
    assert (strength > 0.01 and min(shape) > 6) == (max(counts) > 0)


@pytest.mark.parametrize("shape", [(300, 280), (280, 300), (400, 260)])
def test_a_base_with_more_directions_than_are_searched_at_first(shape):
    rng = np.random.default_rng(3)
    W, U, s, V = decayed(rng, shape, 0.5)
    assert min(shape) > intruders._FIRST + 4 * 3
    counts = []
    for strength in (0.1, 0.5, 1.0, 3.0):
        # In the base's last directions: none of these is looked at first.
        x = U[:, -3:] @ rng.standard_normal((3, 3)) @ V[:, -9:-6].T
        x += (
            rng.standard_normal((shape[0], 1))
            @ rng.standard_normal((1, shape[1]))
            / shape[0]
        )
        x *= strength / np.linalg.norm(x, 2)
        counts.append(naive_intruders(W, x, U))
        found = added_intruders(s, *coordinates(x, 4, U, V))
        assert found == counts[-1]
    assert counts[0] == 0
    assert counts[-1] > 0


def test_cosines_are_near_those_of_an_explicit_decomposition(monkeypatch):
    """Of a nearly flat spectrum, where the base's tail weighs most."""
    seen = []
    monkeypatch.setattr(intruders, "_count", lambda *a: seen.append(a) or 0)
    rng, d = np.random.default_rng(5), 300
    W, U, s, V = decayed(rng, (d, d), 0.1)
    x = rng.standard_normal((d, 2)) @ rng.standard_normal((2, d))
    x *= 1.5 / np.linalg.norm(x, 2)
    added_intruders(s, *coordinates(x, 2, U, V))
    ((cosines, singular),) = seen
    left, exact, _ = np.linalg.svd(W + x)
    assert_allclose(singular, exact[:10], rtol=1e-3)
    assert_allclose(abs(cosines), abs(U.T @ left[:, :10]), atol=0.005)


@pytest.mark.parametrize("shape", [(40, 40), (30, 70), (70, 30)])
def test_a_planted_intruder_is_counted_and_a_tilted_direction_is_not(shape):
    W, U, s, V = decayed(np.random.default_rng(1), shape)
    y = spread_out(U)
    right = V[:, -1]
    new = 3 * np.outer(y, right)
    # As large, in a direction that the base has: its order changes, no more.
    known = 3 * np.outer(U[:, -1], right)
    # Halfway between: still nearer to the base's than the threshold.
    halfway = 3 * np.outer((U[:, -1] + 0.6 * U[:, -2]) / 1.16619, right)
    # Beyond the ten leading ones, where nobody looks.
    faint = 0.02 * np.outer(y, right)
    for x, expected in ((new, 1), (known, 0), (halfway, 0), (faint, 0)):
        assert naive_intruders(W, x, U) == expected
        assert intruders_of(W + x, U) == expected
        assert added_intruders(s, *coordinates(x, 1, U, V)) == expected


def test_a_direction_outside_of_what_a_tall_base_spans_is_an_intruder():
    shape = (60, 20)
    W, U, s, V = decayed(np.random.default_rng(2), shape)
    full = np.linalg.svd(U)[0]
    x = 2 * np.outer(full[:, -1], V[:, -1])
    assert abs(U.T @ full[:, -1]).max() < 1e-12
    assert intruders_of(W + x, U) == 1
    assert added_intruders(s, *coordinates(x, 1, U, V)) == 1


def test_without_an_update_there_is_none():
    W, U, s, V = decayed(np.random.default_rng(2), (30, 20))
    nothing = np.zeros((2, 20))
    assert intruders_of(W, U) == 0
    assert added_intruders(s, nothing, nothing, np.zeros(2)) == 0
    assert intruders_of(0 * W, U) == 0
    # Rows beyond a member's rank are zero, and no directions.
    x = 3 * np.outer(spread_out(U), V[:, 0])
    a, b, own = coordinates(x, 1, U, V)
    padded = [np.concatenate([part, 0 * part]) for part in (a, b, own)]
    assert added_intruders(s, *padded) == added_intruders(s, a, b, own) == 1


def test_members_are_chosen_by_their_bytes_not_by_their_order():
    digests = [f"{i:03d}" for i in np.random.default_rng(0).permutation(99)]
    chosen = {digests[i] for i in tried(digests)}
    assert len(chosen) == intruders._TRIED
    assert chosen == {digests[::-1][i] for i in tried(digests[::-1])}
    assert len(tried(digests[:3])) == 3
