"""What is told from the entries of a matrix, and how surely."""

from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import quad
from scipy.stats import norm, uniform

from spectra.statistics.audit import fresh as module
from spectra.statistics.audit.fresh import (
    ERRORS,
    NEAR_START,
    TELLING,
    edge,
    fresh,
    starts,
)
from tests.reference.naive import entries, explicit

SHAPE = (64, 256)
SIZE = SHAPE[0] * SHAPE[1]


def layer_of(*maps, base=None):
    """Return what is known of one layer's entries, each map a member."""
    low_rank = isinstance(maps[0], tuple)
    stored = [value[0] if low_rank else value for value in maps]
    x = np.array([explicit(value) for value in maps])
    x = x if base is None else x - base.astype(float)
    kinds = ("low-rank" if low_rank else "dense", "difference")
    flat = [np.ravel(A).astype(float) for A in stored]
    return SimpleNamespace(
        shape=x.shape[1:],
        kind=kinds[base is not None],
        members=tuple(range(len(maps))),
        singular_values=np.linalg.svd(x, compute_uv=False),
        initial=np.diag([v @ v for v in flat]) if low_rank else None,
        weights=entries(stored),
    )


def looks(*maps, **options):
    layer = layer_of(*maps, **options)
    return fresh(layer, layer.weights)


def gaussian(rng, shape=SHAPE, std=0.02):
    return rng.normal(0, std, shape).astype(np.float32)


def kaiming(rng, shape=SHAPE):
    bound = shape[-1] ** -0.5
    return rng.uniform(-bound, bound, shape).astype(np.float32)


def adapter(A, B):
    return A.astype(np.float32), B.astype(np.float32), 2.0


@pytest.mark.parametrize(
    ("law", "density"),
    [
        (module._GAUSSIAN, norm),
        (module._UNIFORM, uniform(-np.sqrt(3), 2 * np.sqrt(3))),
    ],
)
def test_the_error_of_a_kurtosis_is_the_delta_method_s(law, density):
    """Its first-order influence is z^4 - 2 b z^2 + b (von Mises)."""
    edges = (-np.sqrt(3), np.sqrt(3)) if law.name == "uniform" else (-12, 12)

    def expected(function):
        return quad(lambda z: function(z) * density.pdf(z), *edges)[0]

    b = expected(lambda z: z**4)
    assert_allclose(law.kurtosis, b, rtol=1e-9)
    square = expected(lambda z: (z**4 - 2 * b * z**2 + b) ** 2)
    assert_allclose(law.spread, square, rtol=1e-9)
    # The square of std has the variance (b - 1) / D, std a quarter of it.
    spread = expected(lambda z: (z**2 - 1) ** 2)
    assert_allclose(law.kurtosis - 1, spread, rtol=1e-9)


@pytest.mark.parametrize("draw", ["standard_normal", "random"])
def test_errors_are_those_of_draws(draw):
    rng = np.random.default_rng(0)
    law = module._GAUSSIAN if draw == "standard_normal" else module._UNIFORM
    entries = getattr(rng, draw)((1500, 1000))
    z = entries - entries.mean(axis=1, keepdims=True)
    z /= z.std(axis=1, keepdims=True)
    found = np.mean(z**4, axis=1)
    assert_allclose(found.std(), np.sqrt(law.spread / 1000), rtol=0.06)
    sizes = np.full(1500, 1000.0)
    assert law.fits(found, sizes).all()
    shifted = law.kurtosis + 8 * np.sqrt(law.spread / sizes)
    assert not law.fits(shifted, sizes).any()


@pytest.mark.parametrize("shape", [(60, 60), (30, 200), (200, 30)])
@pytest.mark.parametrize("draw", ["standard_normal", "random"])
def test_the_largest_singular_value_of_noise_lies_at_the_edge(shape, draw):
    rng = np.random.default_rng(1)
    W = getattr(rng, draw)((200, *shape))
    W -= W.mean(axis=(1, 2), keepdims=True)
    layer = SimpleNamespace(
        shape=shape, singular_values=np.linalg.svd(W, compute_uv=False)
    )
    found = edge(layer, SimpleNamespace(std=W.std(axis=(1, 2))))
    # Uniform entries lie a third of a deviation lower at these sizes.
    assert abs(found.mean()) < 0.5
    assert 0.75 < found.std() < 1.1
    assert np.abs(found).max() < ERRORS


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_random_entries_are_seen(dtype):
    rng = np.random.default_rng(2)
    maps = [
        gaussian(rng),
        rng.uniform(-0.3, 0.3, SHAPE),
        kaiming(rng),
        gaussian(rng, std=1.0),
    ]
    found = looks(*(W.astype(dtype) for W in maps))
    assert found == ["gaussian", "uniform", "uniform", "gaussian"]


def test_each_sign_alone_tells_a_trained_layer():
    rng = np.random.default_rng(3)
    W = gaussian(rng, std=1.0).astype(float)
    shifted = W - W.mean() + 7 / np.sqrt(SIZE)
    # Signs of another matrix: the same kurtosis and mean, a large direction.
    u, v = rng.standard_normal(SHAPE[0]), rng.standard_normal(SHAPE[1])
    spiked = W + 30 * np.outer(u, v) / np.sqrt(SIZE)
    tailed = rng.standard_t(8, SHAPE)
    layer = layer_of(W, shifted, spiked, tailed)
    assert fresh(layer, layer.weights) == ["gaussian", None, None, None]
    stats = layer.weights
    assert np.argmax(np.abs(edge(layer, stats)) > ERRORS) == 2
    assert np.abs(edge(layer, stats)[[0, 1, 3]]).max() < ERRORS
    apart = np.abs(stats.mean) / stats.std * np.sqrt(SIZE) > ERRORS
    assert apart.tolist() == [False, True, False, False]
    odd = ~module._GAUSSIAN.fits(stats.kurtosis, np.array(float(SIZE)))
    assert odd.tolist() == [False, False, False, True]


def test_zeros_and_ones_are_seen():
    rng = np.random.default_rng(4)
    zero, one = np.zeros((3, 4)), np.ones((3, 4))
    almost = zero.copy()
    almost[0, 0] = 1e-3
    maps = [m.astype(np.float32) for m in (zero, one, almost, 2 * one)]
    assert looks(*maps) == ["zeros", "ones", None, None]
    assert looks(*maps, base=gaussian(rng, (3, 4)))[:2] == [
        "zeros",
        "ones",
    ]


def test_of_a_difference_the_edge_is_not_asked():
    """The base is no noise, so neither is the difference from it."""
    rng = np.random.default_rng(5)
    base = 0.02 * rng.standard_t(4, SHAPE).astype(np.float32)
    base[:4] *= 8
    maps = gaussian(rng), kaiming(rng), base + gaussian(rng, std=1e-3)
    layer = layer_of(*maps, base=base)
    assert layer.kind == "difference"
    assert np.abs(edge(layer, layer.weights)).min() > ERRORS
    assert fresh(layer, layer.weights) == ["gaussian", "uniform", None]


def test_an_adapter_without_update_is_fresh_whatever_its_rank():
    rng = np.random.default_rng(6)
    A, B = rng.standard_normal((4, 30)), rng.standard_normal((20, 4))
    maps = [
        adapter(A, B),
        adapter(A, 0 * B),
        adapter(0 * A, B),
        adapter(A[:2], 0 * B[:, :2]),
    ]
    assert looks(*maps) == [None, "no-update", "no-update", "no-update"]


WIDTH, RANK = 4096, 8


def start_of(A, *, scale=1.0):
    """Return what is known of A's start beside an unrelated adapter's."""
    rng = np.random.default_rng(7)
    B = rng.standard_normal((12, len(A)))
    other = rng.standard_normal(A.shape)
    layer = layer_of(adapter(scale * A, B), adapter(other, B))
    found = starts(layer, layer.weights)
    assert not found.untouched[1]
    assert np.isnan(found.moved[1])
    return bool(found.untouched[0]), float(found.moved[0])


def test_a_kaiming_start_is_untouched():
    A = kaiming(np.random.default_rng(8), (RANK, WIDTH))
    assert_allclose(A.std(), 0.00902, atol=2e-5)
    untouched, moved = start_of(A)
    assert untouched
    assert moved < 0.2
    # Of another bound it is uniform, and no start that is known: the standard
    # error of std is .25 %.
    assert not start_of(A, scale=1.02)[0]


def test_a_gaussian_start_is_untouched():
    A = np.random.default_rng(9).normal(0, 1 / RANK, (RANK, WIDTH))
    assert start_of(A)[0]
    assert not start_of(A, scale=1.03)[0]


@pytest.mark.parametrize("moved", [0.2, 0.4, 0.6])
def test_what_training_added_to_a_start_is_measured(moved):
    rng = np.random.default_rng(10)
    A = kaiming(rng, (RANK, WIDTH)).astype(float)
    step = rng.standard_normal(A.shape)
    step *= moved * np.linalg.norm(A) / np.linalg.norm(step)
    untouched, found = start_of(A + step)
    assert not untouched
    assert_allclose(found, moved, atol=0.05)


def test_a_start_that_was_left_is_not_seen():
    rng = np.random.default_rng(11)
    A = kaiming(rng, (RANK, WIDTH)).astype(float)
    step = rng.standard_normal(A.shape) * A.std()
    assert np.isnan(start_of(A + step)[1])
    # At the threshold 0.7 of the square is the start's.
    added = np.sqrt(1.2 / (3 - NEAR_START)) - 1
    assert_allclose(1 / (1 + added), 0.707, atol=1e-3)


def test_a_factor_of_zeros_has_no_start():
    rng = np.random.default_rng(12)
    B = rng.standard_normal((20, 4))
    A = rng.standard_normal((4, 30))
    layer = layer_of(adapter(0 * A, B), adapter(A, B), adapter(0 * A, 2 * B))
    found = starts(layer, layer.weights)
    assert not found.untouched.any()
    assert np.isnan(found.moved).all()


def test_so_many_entries_tell_within_what_is_said():
    error = ERRORS * np.sqrt(module._GAUSSIAN.spread / TELLING)
    assert 0.26 < error < 0.28
