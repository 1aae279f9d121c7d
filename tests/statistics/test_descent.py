"""Trees of descent: against all arborescences, planted trees, real pairs."""

import dataclasses
import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.stats import binom

import spectra
from spectra.core.catalog import Quarantined
from spectra.core.settings import OverlapSettings
from spectra.statistics.kinship.descent import (
    Direction,
    arborescence,
    direction,
    parents_of,
)
from spectra.statistics.kinship.trees import lineage_document
from tests.reference.naive import naive_fit

SETTINGS = OverlapSettings()


def total(cost, parents):
    return sum(
        cost[parent, child]
        for child, parent in enumerate(parents)
        if parent is not None
    )


def is_tree(parents):
    """Return whether all descend from one root."""
    if list(parents).count(None) != 1:
        return False
    for node in range(len(parents)):
        seen = set()
        while node is not None:
            if node in seen:
                return False
            seen.add(node)
            node = parents[node]  # noqa: PLW2901
    return True


def cheapest(cost):
    """Return the cost of the best tree, trying all; None for none."""
    n = len(cost)
    choices = [
        [None, *(i for i in range(n) if i != j and np.isfinite(cost[i, j]))]
        for j in range(n)
    ]
    costs = [
        total(cost, parents)
        for parents in itertools.product(*choices)
        if is_tree(parents)
    ]
    return min(costs, default=None)


@st.composite
def costs(draw):
    """Small integers, so that ties are frequent; some edges are missing."""
    n = draw(st.integers(1, 5))
    entry = st.one_of(st.integers(0, 4).map(float), st.just(np.inf))
    rows = draw(st.lists(entry, min_size=n * n, max_size=n * n))
    return np.array(rows).reshape(n, n)


@given(costs())
def test_no_arborescence_is_cheaper(cost):
    parents, best = arborescence(cost), cheapest(cost)
    if best is None:
        assert parents.count(None) > 1
    else:
        assert is_tree(parents)
        assert total(cost, parents) == best


@pytest.mark.parametrize("seed", range(5))
def test_nor_of_six_nodes(seed):
    cost = np.random.default_rng(seed).random((6, 6))
    assert total(cost, arborescence(cost)) == pytest.approx(cheapest(cost))


def test_cycles_within_cycles():
    """0 and 1 choose one another, then both and 2; 3 is the best way in."""
    cost = np.full((4, 4), 100.0)
    cost[0, 1] = cost[1, 0] = 1
    cost[1, 2] = cost[2, 0] = 2
    cost[3, 2], cost[3, 0] = 5, 50
    assert arborescence(cost) == (2, 0, 3, None)


def test_islands_have_a_root_each():
    cost = np.full((4, 4), np.inf)
    cost[0, 1] = cost[2, 3] = 1
    assert arborescence(cost) == (None, 0, None, 2)


@pytest.mark.parametrize("seed", range(6))
def test_parents_are_those_of_the_formula(seed):
    """K = D + 0.3 mean(D) T, as Horwitz et al. write it, T of squares."""
    rng = np.random.default_rng(seed)
    x, kurtosis = rng.standard_normal((5, 3)), rng.random((5, 6))
    square = np.array([False, True, True, False, True, False])
    D, K = np.zeros((5, 5)), np.zeros((5, 5))
    for i, j in itertools.product(range(5), repeat=2):
        D[i, j] = np.linalg.norm(x[i] - x[j])
    for i, j in itertools.product(range(5), repeat=2):
        T = kurtosis[j, square].sum() > kurtosis[i, square].sum()
        K[i, j] = D[i, j] + 0.3 * D.mean() * T
    parents = parents_of(D, kurtosis, square)
    assert is_tree(parents)
    assert total(K, parents) == pytest.approx(cheapest(K))


BOTH = np.array([True, True])


def test_kurtosis_falls_from_parent_to_child():
    """`build_tree` of the paper's code: T = (k_i > k_j) transposed."""
    D = np.array([[0.0, 1.0], [1.0, 0.0]])
    first, second = [3.0, 5.0], [4.0, 3.0]
    assert parents_of(D, np.array([first, second]), BOTH) == (None, 0)
    assert parents_of(D, np.array([second, first]), BOTH) == (1, None)
    # What only one of them has decides nothing.
    only_one = np.array([[np.nan, 5.0], [99.0, 3.0]])
    assert parents_of(D, only_one, BOTH) == (None, 0)


def test_square_layers_tell_where_they_moved():
    D = np.array([[0.0, 1.0], [1.0, 0.0]])
    oblong = np.array([True, False])
    rises, falls = [3.0, 9.0], [4.0, 3.0]
    assert parents_of(D, np.array([rises, falls]), oblong) == (1, None)
    assert direction(*map(np.array, (rises, falls)), oblong) == Direction(
        1.0, 1, 0
    )
    # A square one that is frozen tells nothing, so all do.
    frozen = [3.0, 3.0]
    assert parents_of(D, np.array([rises, frozen]), oblong) == (None, 0)
    assert direction(*map(np.array, (rises, frozen)), oblong) == Direction(
        -6.0, 1, 1
    )


@given(st.integers(1, 60), st.data())
def test_the_sign_test_is_scipy_s_binomial(n, data):
    falls = data.draw(st.integers(0, n))
    found = Direction(0.0, n, falls)
    tail = binom.cdf(min(falls, n - falls), n, 0.5)
    assert found.p == pytest.approx(min(1.0, 2 * tail))
    assert found.certain == (2 * falls > n and 2 * tail < 0.05)


def test_six_layers_can_be_certain_and_five_cannot():
    assert Direction(-1.0, 6, 6).certain
    assert not Direction(-1.0, 5, 5).certain
    assert not Direction(1.0, 60, 0).certain
    assert Direction(0.0, 0, 0).p is None


def test_only_layers_that_change_are_counted():
    parent = np.array([3.0, 4.0, np.nan, 5.0, 6.0])
    child = np.array([3.0, 3.5, 2.0, np.nan, 8.0])
    found = direction(parent, child, np.ones(5, bool))
    assert found == Direction(1.5, 2, 1)


# Planted trees.

TREE = {"b": "a", "c": "a", "d": "a", "e": "b", "f": "b", "g": "d"}
SHAPE = (64, 64)


def trained(rng, start, moved=0.3):
    """Return weights moved by noise, which makes them more Gaussian."""
    return {
        name: W + moved * np.std(W) * rng.standard_normal(W.shape)
        for name, W in start.items()
    }


def population(tree, n_layers=8, seed=0):
    rng = np.random.default_rng(seed)
    start = {f"l{i}": rng.laplace(size=SHAPE) for i in range(n_layers)}
    models = {"a": start}
    for child, parent in tree.items():
        models[child] = trained(rng, models[parent])
    return models


def edges_of(document):
    return {
        edge["child"]: edge["parent"]
        for group in document["groups"]
        for edge in group["edges"]
    }


def described(models, claims=(), **options):
    fit = naive_fit(models, **options)
    members = tuple(
        dataclasses.replace(m, base_claim=dict(claims).get(m.id))
        for m in fit.models
    )
    return lineage_document(dataclasses.replace(fit, models=members), SETTINGS)


@pytest.fixture(scope="module")
def planted():
    return population(TREE)


@pytest.fixture(scope="module")
def document(planted):
    return described(planted)


def test_a_planted_tree_is_recovered(document):
    (group,) = document["groups"]
    assert edges_of(document) == TREE
    assert (group["root"], group["root_certain"]) == ("a", True)
    assert group["members"] == list("abcdefg")
    assert all(edge["certain"] for edge in group["edges"])
    assert document["alone"] == document["copies"] == []
    assert document["text"] == (
        "1 tree of 7 members; 0 alone; 0 exact copies; kurtosis tells the"
        " direction of 6 of 6 edges; cards: silent 6"
    )


def test_each_edge_carries_its_evidence(document, planted):
    def all_of(name):
        return np.concatenate([W.ravel() for W in planted[name].values()])

    def kurtosis(W):
        x = W - W.mean()
        return np.mean(x**4) / np.mean(x**2) ** 2

    for edge in document["groups"][0]["edges"]:
        parent, child = planted[edge["parent"]], planted[edge["child"]]
        apart = np.linalg.norm(all_of(edge["parent"]) - all_of(edge["child"]))
        norm = np.linalg.norm(all_of(edge["child"]))
        change = np.array([kurtosis(child[k]) - kurtosis(parent[k])
                           for k in parent])  # fmt: skip
        assert_allclose(edge["distance"], apart, rtol=1e-9)
        assert_allclose(edge["relative_move"], apart / norm, rtol=1e-9)
        assert_allclose(edge["kurtosis_difference"], change.sum())
        assert edge["n_falls"] == np.sum(change < 0)
        assert edge["n_moved"] == edge["n_told"] == 8
        assert edge["identical_layers"] == []


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_members_changes_nothing(planted, document, seed):
    order = np.random.default_rng(seed).permutation(sorted(planted))
    turned = described({str(name): planted[name] for name in order})
    assert edges_of(turned) == edges_of(document)
    keys = ("members", "root")
    for one, other in zip(turned["groups"], document["groups"], strict=True):
        assert [one[k] for k in keys] == [other[k] for k in keys]
        assert [(e["certain"], e["n_moved"]) for e in one["edges"]] == [
            (e["certain"], e["n_moved"]) for e in other["edges"]
        ]


def test_what_went_on_with_broad_data_is_upside_down():
    """Kurtosis that grows is read the other way: the stated convention."""
    rng = np.random.default_rng(3)
    child = {f"l{i}": rng.laplace(size=SHAPE) for i in range(8)}
    document = described({"late": child, "early": trained(rng, child)})
    assert edges_of(document) == {"early": "late"}


def test_frozen_layers_are_named_and_tell_no_direction():
    rng = np.random.default_rng(0)
    a = {f"l{i}": rng.laplace(size=SHAPE) for i in range(8)}
    b = trained(rng, a) | {"l2": a["l2"], "l5": a["l5"]}
    # A third that differs keeps the layers in the fit.
    other = {name: rng.laplace(size=SHAPE) for name in a}
    document = described({"a": a, "b": b, "other": other})
    (edge,) = document["groups"][0]["edges"]
    assert (edge["parent"], edge["child"]) == ("a", "b")
    assert edge["identical_layers"] == ["l2", "l5"]
    assert edge["n_moved"] == edge["n_told"] == 6
    assert edge["p"] == pytest.approx(2 / 64)
    assert document["alone"] == ["other"]


@pytest.mark.parametrize(("start", "certain"), [("b", True), ("a", False)])
def test_the_root_is_certain_where_all_its_edges_are(start, certain):
    """c moved in two layers, too few to tell which way."""
    models = population({"b": "a"})
    few = {name: models[start][name] for name in ("l0", "l1")}
    models["c"] = models[start] | trained(np.random.default_rng(1), few)
    document = described(models)
    (group,) = document["groups"]
    assert edges_of(document) == {"b": "a", "c": start}
    assert [edge["certain"] for edge in group["edges"]] == [True, False]
    assert (group["root"], group["root_certain"]) == ("a", certain)


def test_copies_stand_beside_the_tree():
    models = population({"b": "a"})
    models |= {"z": models["b"], "y": models["a"]}
    document = described(models, {"z": "a"})
    assert edges_of(document) == {"b": "a"}
    assert document["copies"] == [
        {"id": "y", "of": "a"},
        {"id": "z", "of": "b"},
    ]


def test_there_is_no_edge_across_groups():
    models = population({"b": "a"}, seed=0)
    models |= {f"x{k}": v for k, v in population({"b": "a"}, seed=1).items()}
    document = described(models)
    assert edges_of(document) == {"b": "a", "xb": "xa"}
    assert [group["root"] for group in document["groups"]] == ["a", "xa"]


def test_a_member_with_few_layers_is_not_near_for_that():
    """c is of b; with a it has one layer, and so less to differ in."""
    rng = np.random.default_rng(5)
    a = {f"l{i}": rng.laplace(size=SHAPE) for i in range(8)}
    b = trained(rng, a, 0.2)
    c = trained(rng, b, 0.1)
    few = {name: W for name, W in a.items() if name == "l0"}
    document = described({"a": few, "b": b, "c": c})
    assert edges_of(document)["c"] == "b"


def test_updates_have_distances_and_no_direction():
    rng = np.random.default_rng(0)
    A, B = rng.standard_normal((4, 12)), rng.standard_normal((10, 4))
    models = {
        f"m{i}": {"q": (A + 0.1 * rng.standard_normal(A.shape), B, 2.0)}
        for i in range(3)
    }
    document = described(models)
    (group,) = document["groups"]
    assert len(group["edges"]) == 2
    assert group["root_certain"] is False
    for edge in group["edges"]:
        x, y = (2.0 * B @ models[edge[k]]["q"][0] for k in ("parent", "child"))
        assert_allclose(edge["distance"], np.linalg.norm(x - y))
        assert edge["certain"] is False
        assert "updates" in edge["reason"]
        assert edge["n_told"] == edge["n_falls"] == 0
        for key in ("p", "kurtosis_difference"):
            assert edge[key] is None
            assert edge[f"{key}_reason"] == edge["reason"]
    json.dumps(document, allow_nan=False)


def test_differences_are_compared_by_the_whole_weights():
    """The base is subtracted for distances, not for kurtosis."""
    rng = np.random.default_rng(1)
    base = {f"l{i}": rng.laplace(size=SHAPE) for i in range(8)}
    a = trained(rng, base, 0.3)
    document = described({"b": trained(rng, a, 0.1), "a": a}, base=base)
    (edge,) = document["groups"][0]["edges"]
    assert (edge["parent"], edge["certain"]) == ("a", True)
    apart = sum(np.sum((a[k] - base[k]) ** 2) for k in base)
    assert edge["relative_move"] == pytest.approx(1 / 3, rel=0.1)
    assert edge["distance"] < np.sqrt(apart)


def test_a_child_that_is_zero_has_no_relative_move():
    """It is nearest to one with whom it shares nothing but zeros."""
    rng = np.random.default_rng(0)
    l0, l1, l2 = rng.laplace(size=(3, *SHAPE))
    b = {"l0": 1e-3 * l0, "l1": l1, "l2": l2}
    a = {"l0": b["l0"], "l2": l2 + 0.3 * rng.standard_normal(SHAPE)}
    c = {"l0": 0 * l0, "l1": l1 + 0.6 * rng.standard_normal(SHAPE)}
    document = described({"a": a, "b": b, "c": c})
    assert edges_of(document) == {"a": "b", "c": "a"}
    edge = document["groups"][0]["edges"][1]
    assert edge["relative_move"] is None
    assert "zero" in edge["relative_move_reason"]


def test_layers_that_all_hold_alike_are_named():
    fit = naive_fit(population({"b": "a"}))
    left = (
        Quarantined("", "same", "TOO_FEW_MEMBERS", ""),
        Quarantined("", "faulty", "TOO_FEW_MEMBERS", ""),
        Quarantined("", "new", "NOT_IN_BASE", ""),
        Quarantined("m", None, "ALONE", ""),
    )
    lost = (Quarantined("m", "faulty", "NOT_FINITE", ""),)
    fit = dataclasses.replace(fit, left_out=left, quarantine=lost)
    document = lineage_document(fit, SETTINGS)
    assert document["identical_everywhere"] == ["same"]
    assert "1 layer not compared" in document["text"]


# What cards claim.


@pytest.mark.parametrize(
    ("claims", "claim"),
    [
        ({}, "silent"),
        ({"b": "a"}, "agrees"),
        ({"b": "org/a"}, "agrees"),
        ({"b": "/data/models/a"}, "agrees"),
        ({"b": "z"}, "agrees"),
        ({"b": "c"}, "contradicts"),
        ({"a": "b"}, "contradicts"),
        ({"a": "b", "b": "org/x"}, "contradicts"),
        ({"b": "org/x"}, "outside"),
        ({"b": "ba"}, "outside"),
        ({"a": "c"}, "silent"),
        ({"b": "b"}, "silent"),
    ],
)
def test_a_card_agrees_or_does_not(claims, claim):
    """z is a copy of a; c is no relative."""
    models = population({"b": "a"}, n_layers=6)
    models |= {"z": models["a"], "c": population({}, n_layers=6, seed=9)["a"]}
    document = described(models, claims)
    (group,) = document["groups"]
    (edge,) = group["edges"]
    assert (edge["parent"], edge["child"]) == ("a", "b")
    assert edge["claim"] == claim
    assert group["claims"] == {k: v for k, v in claims.items() if k in "ab"}


@pytest.mark.parametrize(
    ("parent", "base", "claim"),
    [
        ("org/a", "org/a", "agrees"),
        ("org/a", "other/a", "outside"),
        ("org/a@0123abc", "org/a", "agrees"),
        ("org/a/unet", "org/a", "agrees"),
        ("pop/a", "a", "agrees"),
        ("org/ab", "org/a", "outside"),
    ],
)
def test_names_of_a_hub_and_of_folders(parent, base, claim):
    a, b = population({"b": "a"}, n_layers=6).values()
    document = described({parent: a, "child": b}, {"child": base})
    assert document["groups"][0]["edges"][0]["claim"] == claim


# Real populations: what kurtosis says, and what it does not.


@pytest.fixture(scope="module")
def real(populations):
    def lineage(name):
        run = spectra.fit(spectra.scan(populations / name))
        return spectra.lineage(run).document

    return lineage


def test_ani_1ccx_and_1x_are_pairs_with_frozen_layers(real):
    """Right in seven of eight pairs; certain in none, with four layers."""
    document = real("ani")
    (*edges,) = (e for g in document["groups"] for e in g["edges"])
    assert len(edges) == 8
    assert document["alone"] == []
    frozen = [f"{element}.{layer}" for element in "CHNO" for layer in (1, 3)]
    for edge in edges:
        ids = {edge["parent"], edge["child"]}
        seed = edge["child"][-1]
        assert ids == {f"ani-1x_8x-{seed}", f"ani-1ccx_8x-{seed}"}
        assert edge["identical_layers"] == frozen
        assert edge["n_moved"] == 4
        assert edge["certain"] is False
        right = edge["child"].startswith("ani-1ccx")
        assert edge["claim"] == ("agrees" if right else "contradicts")
    assert [e["child"] for e in edges if e["claim"] == "contradicts"] == [
        "ani-1x_8x-0"
    ]


def test_sceptr_finetuned_is_of_sceptr(real):
    """Two of four square layers say so: right, and by chance as well."""
    document = real("sceptr")
    (group,) = document["groups"]
    (edge,) = group["edges"]
    assert (edge["parent"], edge["child"]) == ("SCEPTR", "SCEPTR_finetuned")
    assert edge["claim"] == "agrees"
    assert len(edge["identical_layers"]) == 12
    assert edge["relative_move"] == pytest.approx(0.095, abs=0.001)
    assert edge["kurtosis_difference"] == pytest.approx(-0.103, abs=0.001)
    assert edge["certain"] is group["root_certain"] is False
    assert edge["reason"].startswith("kurtosis falls in 2 of 4 layers (p 1 ")
    assert len(document["alone"]) == 10


def test_chgnet_r2scan_is_of_0_3_0(real):
    document = real("chgnet")
    (edge,) = document["groups"][0]["edges"]
    assert (edge["parent"], edge["child"]) == ("0.3.0", "r2scan")
    assert edge["claim"] == "agrees"
    assert edge["kurtosis_difference"] == pytest.approx(-1.328, abs=0.001)
    assert (edge["n_told"], edge["n_falls"]) == (24, 11)
    assert edge["certain"] is False
    assert document["alone"] == ["0.2.0"]
