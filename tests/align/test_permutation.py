"""Weight matching against every permutation, twins and what networks do."""

from itertools import pairwise, permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from spectra.align.permutation import (
    NULLS,
    inner_product,
    match_weights,
    permuted,
)

ENTRIES, ROTATED = NULLS


def network(rng, widths, biases=True):
    """Return matrices as they are initialised, biases in the last column."""
    return [
        rng.standard_normal((out, into + biases)) / np.sqrt(into)
        for into, out in pairwise(widths)
    ]


def orders_of(rng, widths):
    return [rng.permutation(width) for width in widths[1:-1]]


def outputs(network, x):
    """Return what a network computes, with an activation of no symmetry."""
    for place, W in enumerate(network):
        biases = W[:, len(x) :].sum(axis=1)
        x = W[:, : len(x)] @ x + biases
        if place < len(network) - 1:
            x = np.log1p(np.exp(x))
    return x


def vector(network):
    return np.concatenate([W.reshape(-1) for W in network])


shapes = st.lists(st.integers(1, 9), min_size=3, max_size=6)
seeds = st.integers(0, 2**32 - 1)


@given(shapes, st.booleans(), seeds)
def test_what_a_network_computes_does_not_depend_on_the_order(
    widths, biases, seed
):
    """Consistent: a layer's outputs and the next one's inputs move alike."""
    rng = np.random.default_rng(seed)
    net = network(rng, widths, biases)
    moved = permuted(net, orders_of(rng, widths))
    x = rng.standard_normal(widths[0])
    assert_allclose(outputs(moved, x), outputs(net, x), rtol=1e-9)


def test_the_order_says_which_unit_comes_to_a_place():
    net = [np.array([[1.0, 2], [3, 4]]), np.array([[5.0, 6, 7]])]
    first, last = permuted(net, [np.array([1, 0])])
    assert first.tolist() == [[3, 4], [1, 2]]
    assert last.tolist() == [[6, 5, 7]]


@given(shapes, st.booleans(), seeds)
def test_a_permuted_twin_is_found_exactly(widths, biases, seed):
    rng = np.random.default_rng(seed)
    net = network(rng, widths, biases)
    orders = orders_of(rng, widths)
    twin = permuted(net, orders)
    found = match_weights(net, twin)
    for order, back in zip(orders, found.orders, strict=True):
        assert_array_equal(back, np.argsort(order))
    assert_array_equal(vector(permuted(twin, found.orders)), vector(net))


def test_a_large_twin_is_found_exactly():
    rng = np.random.default_rng(3)
    widths = (8, 64, 48, 64, 3)
    net = network(rng, widths)
    twin = permuted(net, orders_of(rng, widths))
    found = match_weights(net, twin)
    assert_array_equal(vector(permuted(twin, found.orders)), vector(net))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("widths", [(3, 5, 2), (1, 6, 1)])
def test_one_hidden_layer_is_solved_exactly(widths, seed):
    rng = np.random.default_rng(seed)
    a, b = network(rng, widths), network(rng, widths)
    best = max(
        vector(a) @ vector(permuted(b, [np.array(order)]))
        for order in permutations(range(widths[1]))
    )
    found = match_weights(a, b)
    assert found.objective[-1] == pytest.approx(best, rel=1e-12)
    assert_allclose(vector(a) @ vector(permuted(b, found.orders)), best)


@pytest.mark.parametrize("seed", range(20))
def test_no_layer_alone_can_be_ordered_better(seed):
    """Of several layers the optimum is local, and mostly the best of all."""
    rng = np.random.default_rng(seed)
    widths = (3, 4, 4, 3, 2)
    a, b = network(rng, widths), network(rng, widths)
    found = match_weights(a, b)
    reached = vector(a) @ vector(permuted(b, found.orders))
    for place, order in enumerate(found.orders):
        for other in permutations(range(len(order))):
            orders = list(found.orders)
            orders[place] = np.array(other)
            assert vector(a) @ vector(permuted(b, orders)) <= reached + 1e-12


def best_of_all(a, b):
    each = [map(np.array, permutations(range(len(W)))) for W in b[:-1]]
    return max(
        vector(a) @ vector(permuted(b, orders)) for orders in product(*each)
    )


def test_near_copies_reach_the_best_of_all_orders():
    widths = (3, 4, 4, 2)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        a = network(rng, widths)
        b = permuted(a, orders_of(rng, widths))
        b = [W + 0.1 * rng.standard_normal(W.shape) for W in b]
        found = match_weights(a, b)
        assert found.objective[-1] == pytest.approx(best_of_all(a, b))


def test_unrelated_networks_come_close_to_the_best_of_all_orders():
    """A local optimum is what it is: short of the best, and never by much."""
    widths, shares = (3, 4, 4, 2), []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        a, b = network(rng, widths), network(rng, widths)
        shares.append(match_weights(a, b).objective[-1] / best_of_all(a, b))
    assert max(shares) <= 1 + 1e-12
    assert np.mean(shares) > 0.9


@given(shapes, st.booleans(), seeds)
def test_the_objective_is_what_it_says_and_never_falls(widths, biases, seed):
    rng = np.random.default_rng(seed)
    a, b = network(rng, widths, biases), network(rng, widths, biases)
    found = match_weights(a, b)
    assert_allclose(found.objective[0], vector(a) @ vector(b), atol=1e-12)
    assert np.all(np.diff(found.objective) >= 0)
    reached = vector(a) @ vector(permuted(b, found.orders))
    assert_allclose(found.objective[-1], reached, atol=1e-12)
    assert_allclose(inner_product(a, b), vector(a) @ vector(b), atol=1e-12)


def test_more_than_one_sweep_is_made():
    """Else the test above would say little."""
    steps = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        a, b = (network(rng, (3, 16, 16, 16, 2)) for _ in range(2))
        steps.append(len(match_weights(a, b).objective))
    assert max(steps) > 5


def test_units_that_stand_well_are_not_lost_to_noise_at_the_inputs():
    rng = np.random.default_rng(0)
    a = network(rng, (3, 8, 8, 2), biases=False)
    b = [W.copy() for W in a]
    for W in (a, b):
        W[0] = 0.01 * rng.standard_normal((8, 3))
    found = match_weights(a, b)
    assert [order.tolist() for order in found.orders] == [list(range(8))] * 2
    assert found.objective[0] == found.objective[1]


def test_nothing_is_moved_for_nothing():
    rng = np.random.default_rng(0)
    a = network(rng, (3, 5, 2))
    for b in ([0 * W for W in a], a):
        (order,) = match_weights(a, b).orders
        assert order.tolist() == list(range(5))


@pytest.mark.parametrize("widths", [(3, 6, 2), (3, 6, 5, 4, 2), (1, 1, 1)])
def test_scattered_weights_keep_their_tensor_and_place_at_both_ends(widths):
    net = network(np.random.default_rng(0), widths)
    drawn = ENTRIES.draw(net, np.random.default_rng(1))
    assert [W.shape for W in drawn] == [W.shape for W in net]
    assert_array_equal(np.sort(drawn[0], axis=0), np.sort(net[0], axis=0))
    for W, X, into in zip(net[1:-1], drawn[1:-1], widths[1:-2], strict=True):
        weights, scattered = W[:, :into], X[:, :into]
        assert_array_equal(
            np.sort(scattered, axis=None), np.sort(weights, axis=None)
        )
        for axis in (0, 1):
            assert not np.allclose(
                np.sort(scattered, axis=axis), np.sort(weights, axis=axis)
            )
        assert_array_equal(X[:, into:], W[:, into:])
    into = widths[-2]
    assert_array_equal(
        np.sort(drawn[-1][:, :into]), np.sort(net[-1][:, :into])
    )
    assert_array_equal(drawn[-1][:, into:], net[-1][:, into:])


@pytest.mark.parametrize("widths", [(3, 6, 2), (3, 6, 5, 4, 2), (1, 1, 1)])
def test_mixed_units_keep_map_and_mean(widths):
    net = network(np.random.default_rng(0), widths)
    drawn = ROTATED.draw(net, np.random.default_rng(1))

    def kept(net):
        first, *_, last = net
        whole = np.eye(widths[0])
        for W, into in zip(net, widths, strict=False):
            whole = W[:, :into] @ whole
        return [
            first.T @ first,
            first.mean(axis=0),
            last[:, : widths[-2]] @ last[:, : widths[-2]].T,
            last[:, : widths[-2]].mean(axis=1),
            last[:, widths[-2] :],
            whole,
        ]

    for before, after in zip(kept(net), kept(drawn), strict=True):
        assert_allclose(after, before, atol=1e-12)


@pytest.mark.parametrize("null", NULLS, ids=lambda null: null.name)
def test_a_draw_is_another_network_each_time(null):
    net = network(np.random.default_rng(0), (4, 8, 8, 3))
    before = vector(net).copy()
    drawn = [null.draw(net, np.random.default_rng(s)) for s in (1, 2, 1)]
    assert_array_equal(vector(net), before)
    assert_array_equal(vector(drawn[0]), vector(drawn[2]))
    for W, X, Y in zip(net, *drawn[:2], strict=True):
        assert not np.allclose(W, X)
        assert not np.allclose(X, Y)


def test_mixing_has_no_preferred_direction():
    """Haar: a unit's mean image is the mean unit, its spread the same."""
    rng = np.random.default_rng(0)
    net = [np.eye(4), np.zeros((1, 4))]
    turns = np.stack([ROTATED.draw(net, rng)[0] for _ in range(4000)])
    assert_allclose(turns.mean(axis=0), np.full((4, 4), 0.25), atol=0.03)
    assert_allclose(turns.var(axis=0), np.full((4, 4), 0.1875), atol=0.02)
