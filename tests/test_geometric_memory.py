"""Memorised graphs: modes, chance, the page, and one small training."""

import json

import numpy as np
import pytest
from scipy.linalg import subspace_angles

from analyses.geometric_memory import tables
from analyses.geometric_memory.graphs import GRAPHS, Graph, cycle, grid
from analyses.geometric_memory.measure import (
    chance,
    overlaps,
    p_of,
    share,
    strongest,
)

RECORD = json.loads(tables.RECORD.read_text("utf-8"))
PAGE = tables.PAGE.read_text("utf-8")


def relabelled(graph, seed=0):
    """Return the graph with its nodes in another order."""
    order = np.random.default_rng(seed).permutation(graph.n)
    A = graph.adjacency[order][:, order]
    return Graph(graph.name, A, graph.colours[order])


@pytest.mark.parametrize("graph", GRAPHS, ids=lambda graph: graph.name)
def test_neighbours_have_two_colours_and_modes_alternate_in_twins(graph):
    A, degrees = graph.adjacency, graph.adjacency.sum(axis=0)
    assert (A == A.T).all()
    assert (A * np.outer(graph.colours, graph.colours) <= 0).all()
    L = np.diag(degrees) - A
    values, vectors = graph.modes
    assert L @ vectors == pytest.approx(vectors * values, abs=1e-9)
    assert vectors.sum(axis=0) == pytest.approx(0, abs=1e-9)
    assert values[0] > 1e-3
    assert values[graph.k] > 1.5 * values[graph.k - 1]
    # Of the walk's matrix, what a mode is multiplied by changes its sign.
    walk, colours = A / degrees[:, None], graph.colours[:, None]
    x = graph.slow
    assert colours * (walk @ (colours * x)) == pytest.approx(-(walk @ x))


def test_modes_of_a_cycle_and_of_a_grid_are_cosines():
    waves = 2 - 2 * np.cos(2 * np.pi * np.arange(64) / 64)
    assert cycle(64).modes[0] == pytest.approx(np.sort(waves)[1:])
    one = 2 - 2 * np.cos(np.pi * np.arange(8) / 8)
    both = np.sort(np.add.outer(one, one).ravel())
    assert grid(8).modes[0] == pytest.approx(both[1:])


def test_a_path_star_is_arms_from_one_node():
    graph = GRAPHS[0]
    degrees = graph.adjacency.sum(axis=0)
    ends = degrees == 1
    assert (degrees[0], *np.unique(degrees[1:])) == (9, 1, 2)
    assert np.count_nonzero(ends) == 9
    walks = np.linalg.matrix_power(graph.adjacency, 7)[0]
    assert (walks[ends] == 1).all()


def test_a_share_is_the_mean_squared_cosine_of_the_angles():
    graph = GRAPHS[1]
    X = np.random.default_rng(1).standard_normal((graph.n, 20)) + 5
    U = np.linalg.svd(X - X.mean(axis=0))[0][:, : graph.k]
    found = overlaps(X, graph)
    for what, V in (("slow", graph.slow), ("twins", graph.twins),
                    ("quarter", graph.quarter)):  # fmt: skip
        cosines = np.cos(subspace_angles(U, V))
        expected = (cosines**2).sum() / graph.k
        assert getattr(found, what) == pytest.approx(expected)


@pytest.mark.parametrize("graph", GRAPHS, ids=lambda graph: graph.name)
def test_chance_is_what_random_embeddings_give(graph):
    rng = np.random.default_rng(2)
    drawn = [
        share(
            strongest(rng.standard_normal((graph.n, 20)), graph.k),
            graph.slow,
        )
        for _ in range(200)
    ]
    mean, spread = chance(graph)
    assert mean == graph.k / (graph.n - 1)
    assert np.mean(drawn) == pytest.approx(mean, abs=4 * spread / 200**0.5)
    assert np.std(drawn) == pytest.approx(spread, rel=0.2)


def test_the_modes_themselves_are_all_of_it_and_in_another_order_are_not():
    graph = GRAPHS[1]
    rng = np.random.default_rng(3)
    X = graph.slow @ rng.standard_normal((graph.k, 40))
    assert overlaps(X, graph).slow == pytest.approx(1)
    assert p_of(X, graph, 0) == 0.005
    other = relabelled(graph)
    assert overlaps(X, other).slow < 0.25
    assert p_of(X, other, 0) > 0.01


def test_the_page_is_what_was_recorded():
    assert tables.with_tables(PAGE, RECORD) == PAGE
    assert PAGE.count("<!-- end -->") == len(tables.TABLES)
    assert tables.FIGURE.read_text("utf-8") == tables.drawn(RECORD)


def test_every_graph_was_memorised_in_every_way():
    found = {(r["graph"], r["model"], r["seed"]) for r in RECORD["runs"]}
    models = {model for _, model, _ in found}
    assert found == {
        (graph.name, model, seed)
        for graph in GRAPHS
        for model in models
        for seed in range(3)
    }
    assert len(models) == 5
    for row, graph in zip(RECORD["graphs"], GRAPHS, strict=True):
        mean, spread = chance(graph)
        assert (row["k"], row["n"]) == (graph.k, graph.n)
        assert (row["chance"], row["spread"]) == pytest.approx(
            (mean, spread), abs=5e-5
        )


def last(graph, model, name, what="slow"):
    """Return the last value of each seed."""
    return np.array(
        [
            run["embeddings"][name][what][-1]
            for run in RECORD["runs"]
            if (run["graph"], run["model"]) == (graph.name, model)
        ]
    )


@pytest.mark.parametrize("graph", GRAPHS, ids=lambda graph: graph.name)
def test_what_the_page_says_is_so_in_the_record(graph):
    mean, spread = chance(graph)
    for run in RECORD["runs"]:
        if run["graph"] == graph.name:
            assert run["recall"][-1] == 1
            far = run["excess"][-1] > 0.5
            assert far == (run["model"] == "Node2Vec")
            assert far or run["excess"][-1] < 0.05
    whole, apart = (
        last(graph, name, "V") for name in ("Node2Vec", "Node2Vec, apart")
    )
    assert whole.mean() > apart.mean() + 0.1
    assert (whole.mean() > 0.9) == (graph.name == "grid")
    assert (last(graph, "Node2Vec", "V", "quarter") > 0.95).all()
    tied = last(graph, "transformer, tied", "E")
    assert mean + 5 * spread < tied.mean() < 0.5
    untied = last(graph, "transformer, untied", "E")
    assert tied.mean() / 3 < untied.mean() < tied.mean()
    twins = last(graph, "transformer, untied", "E", "twins")
    assert (untied + twins).mean() < 0.7
    random = last(graph, "associative", "E")
    assert (abs(random - mean) < 3 * spread).all()
    read_out = last(graph, "associative", "E W")
    assert mean + 3 * spread < read_out.mean() < 0.45


@pytest.mark.slow
def test_a_small_grid_is_memorised_with_its_modes():
    """And the same embeddings hold nothing of a grid in another order."""
    from analyses.geometric_memory.models import WAYS
    from analyses.geometric_memory.train import memorised

    graph = grid(7)
    other = relabelled(graph)
    mean, spread = chance(graph)
    curves, wrong = {}, {}
    for way in WAYS:
        states = list(memorised(way, graph, 0))
        embeddings = [next(iter(s.embeddings.values())) for s in states]
        curves[way.name] = [overlaps(X, graph).slow for X in embeddings]
        wrong[way.name] = overlaps(embeddings[-1], other).slow
        assert states[-1].recall == 1
        assert (states[-1].excess < 0.05) == (way.name != "Node2Vec")
    last = {name: curve[-1] for name, curve in curves.items()}
    assert last["Node2Vec"] > 0.7
    assert last["Node2Vec, apart"] < max(curves["Node2Vec, apart"]) - 0.1
    assert mean + 4 * spread < last["transformer, tied"] < 0.7
    assert mean + 2 * spread < last["transformer, untied"] < 0.7
    assert abs(last["associative"] - mean) < 3 * spread
    assert all(abs(each - mean) < 4 * spread for each in wrong.values())
