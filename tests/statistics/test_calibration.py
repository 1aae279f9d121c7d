"""Each null beside populations that its own words describe, made of weights.

Nothing here draws from the sampler that is tested: members are rotated,
permuted or drawn as explicit matrices.
"""

import dataclasses

import numpy as np
import pytest
from scipy.stats import kstest

from spectra.statistics.nulls.draws import Members, draw_null
from spectra.statistics.nulls.table import NULLS
from spectra.statistics.streams import generator
from spectra.statistics.vectors import deviations
from tests.statistics.planted import axis_fit, planted, strong

NAMED = {null.name: null for null in NULLS}
IDS = [f"m{i:03d}" for i in range(40)]
DRAWS = 99


def members_of(maps):
    """Return members of whom a fit knows what the model axis needs."""
    layer = axis_fit(maps).layers[0]
    rows, inputs = maps.sum(axis=1), maps.transpose(0, 2, 1) @ maps
    flat = inputs.reshape(len(maps), -1)
    joint = np.linalg.eigvalsh(inputs.sum(axis=0))[::-1]
    layer = dataclasses.replace(
        layer,
        singular_values=np.linalg.svd(maps, compute_uv=False),
        entry_sums=maps.sum(axis=(1, 2)),
        row_sums=rows @ rows.T,
        row_products=flat @ flat.T,
        input=dataclasses.replace(
            layer.input,
            eigenvalues=np.maximum(0.0, joint),
            trace=float(np.sum(maps**2)),
        ),
    )
    return Members(deviations(layer, IDS), layer, are_updates=True)


def p_of(name, maps, stream=0, levels=(1, 4), draws=DRAWS):
    found = draw_null(
        NAMED[name], members_of(maps), levels,
        draws=draws, rng=generator(stream, name),
    )  # fmt: skip
    assert found.levels == levels
    return found.p


def lengths(rng, n, spread=0.3):
    return np.exp(spread * rng.standard_normal(n))[:, None, None]


# Each of these returns a function that makes one more such population.


def directions(rng, n, shape):
    """Gaussian vectors scaled to uneven lengths."""
    own = lengths(rng, n)
    return lambda: own * strong(rng, n, shape)


def rotated(rng, n, shape):
    """Maps of uneven spectra and lengths, between Haar bases."""
    rank = min(shape)
    s = np.exp(-0.5 * rng.random((n, 1)) * np.arange(rank))
    s = lengths(rng, n)[:, :, 0] * s / np.linalg.norm(s, axis=1)[:, None]

    def draw():
        left, right = (
            np.linalg.qr(rng.standard_normal((n, side, rank)))[0]
            for side in shape
        )
        return (left * s[:, None, :]) @ right.transpose(0, 2, 1)

    return draw


def initialised(rng, n, shape):
    """Normal entries, as a fresh network has them."""
    return lambda: 0.02 * rng.standard_normal((n, *shape))


def entries(rng, n, shape):
    """The entries of uneven matrices that are not centred, permuted."""
    maps = lengths(rng, n) * rng.standard_normal((n, *shape))
    maps += 0.3 * rng.random((n, 1, 1))
    flat = maps.reshape(n, -1)
    return lambda: rng.permuted(flat, axis=1).reshape(n, *shape)


def rows_of(maps, rng):
    def draw():
        return np.array([rng.permutation(x) for x in maps])

    return draw


def rows(rng, n, shape):
    """The rows of uneven matrices that read anywhere, permuted."""
    maps = lengths(rng, n) * rng.standard_normal((n, *shape))
    return rows_of(maps, rng)


def rows_of_one_start(rng, n, shape):
    """The rows of B_i A with one A for all, permuted."""
    A = rng.standard_normal((3, shape[1]))
    maps = lengths(rng, n) * rng.standard_normal((n, shape[0], 3)) @ A
    return rows_of(maps, rng)


def rows_of_adapters(rng, n, shape):
    """The rows of B_i A_i, permuted."""
    B = rng.standard_normal((n, shape[0], 2))
    return rows_of(B @ rng.standard_normal((n, 2, shape[1])), rng)


def rows_of_two_starts(rng, n, shape):
    """The rows of maps in two groups that read from few inputs each."""
    A = rng.standard_normal((2, 3, shape[1]))
    B = rng.standard_normal((n, shape[0], 3))
    return rows_of(B @ A[np.arange(n) % 2], rng)


MECHANISMS = [
    ("strength", directions, 40, (16, 16)),
    ("strength", rotated, 40, (16, 12)),
    ("initialisation", initialised, 10, (8, 8)),
    ("unit-norm", directions, 10, (8, 8)),
    ("unit-norm", rotated, 10, (16, 12)),
    ("permuted-entries", entries, 10, (16, 8)),
    ("permuted-rows", rows, 10, (16, 8)),
    ("permuted-rows", rows_of_one_start, 10, (16, 8)),
    ("permuted-rows", rows_of_adapters, 10, (16, 8)),
    ("permuted-rows", rows_of_two_starts, 10, (24, 8)),
    # More members than entries.
    ("strength", directions, 16, (3, 4)),
    ("initialisation", initialised, 12, (3, 3)),
    ("unit-norm", directions, 16, (3, 4)),
    ("permuted-entries", entries, 14, (3, 4)),
    ("permuted-rows", rows, 20, (16, 1)),
]


@pytest.mark.parametrize(("name", "mechanism", "n", "shape"), MECHANISMS)
@pytest.mark.slow
def test_p_is_uniform_over_populations_that_are_as_the_null_says(
    name, mechanism, n, shape
):
    rng = np.random.default_rng(11)
    draw = mechanism(rng, n, shape)
    found = np.array([p_of(name, draw(), trial) for trial in range(400)])
    # p is uniform on 1, 2, ... of 1 + DRAWS parts; so is this on (0, 1).
    spread = found - rng.random(found.shape) / (1 + DRAWS)
    for column in spread.T:
        assert kstest(column, "uniform").pvalue > 0.01


@pytest.mark.parametrize("n", [6, 10])
@pytest.mark.parametrize("mechanism", [directions, rotated])
def test_of_few_members_the_strength_null_finds_too_little(mechanism, n):
    """Norms that are known from few members take part in what is tested."""
    draw = mechanism(np.random.default_rng(5), n, (16, 12))
    found = np.array([p_of("strength", draw(), t, (1,)) for t in range(400)])
    # 400 uniform p would have 20 at or below 0.05, and seldom over 29.
    assert np.sum(found <= 0.05) <= 29


def test_each_null_keeps_what_it_says_and_nothing_else():
    rng = np.random.default_rng(2)
    uneven = lengths(rng, 12, 0.8) * strong(rng, 12, (16, 12))
    assert p_of("initialisation", uneven, levels=(4,))[0] < 0.02
    assert p_of("strength", uneven, levels=(4,))[0] > 0.05
    assert p_of("unit-norm", uneven, levels=(4,))[0] > 0.05
    # Rows of one start agree where the members read, and nowhere else.
    start = rows_of_one_start(rng, 12, (32, 12))()
    assert p_of("strength", start, levels=(4,))[0] < 0.02
    assert p_of("permuted-entries", start, levels=(4,))[0] < 0.02
    assert p_of("permuted-rows", start, levels=(4,))[0] > 0.05


@pytest.mark.parametrize("name", NAMED)
def test_every_null_finds_what_is_planted(name):
    maps = planted(np.random.default_rng(0), 0.5, n=20, shape=(16, 16))
    assert p_of(name, maps)[1] == 1 / (1 + DRAWS)


@pytest.mark.parametrize("name", NAMED)
def test_the_order_of_members_changes_nothing(name):
    maps = planted(np.random.default_rng(0), 0.1, n=9, shape=(16, 6))
    members = members_of(maps)
    order = np.random.default_rng(1).permutation(9)
    layer, turned = members.layer, members_of(maps[order]).layer
    ids = [f"m{i:03d}" for i in order]
    moved = Members(deviations(turned, ids), turned, are_updates=True)
    found = [
        draw_null(NAMED[name], who, (1, 4), draws=99, rng=generator(0))
        for who in (members, moved)
    ]
    assert layer.members == turned.members
    np.testing.assert_allclose(found[0].drawn, found[1].drawn, rtol=1e-9)
    np.testing.assert_allclose(found[0].p, found[1].p)
