"""Chance levels, orders and packing of pairs."""

import base64
from dataclasses import replace

import numpy as np
import pytest
from scipy.cluster import hierarchy
from scipy.spatial import distance

from spectra.report.pairs import (
    MEASURES,
    UNDEFINED,
    clustered,
    elbows,
    pack,
    pair_values,
    tree,
)
from spectra.subspaces.result import PopulationFit


@pytest.mark.parametrize(
    ("key", "axis"), [("output_overlap", 0), ("input_overlap", 1)]
)
def test_chance_is_what_random_frames_have(
    fit: PopulationFit, key: str, axis: int
) -> None:
    ranks = np.array([3, 7])
    layer = replace(fit.layers[0], ranks=ranks, members=(0, 1))
    measure = next(m for m in MEASURES if m.key == key)
    d, rng = layer.shape[axis], np.random.default_rng(0)
    draws = []
    for _ in range(2000):
        U, V = (np.linalg.qr(rng.standard_normal((d, q)))[0] for q in ranks)
        draws.append(np.sum((U.T @ V) ** 2) / ranks.min())
    spread = np.std(draws) / np.sqrt(len(draws))
    chance = measure.chance(layer)[0, 1]
    assert abs(np.mean(draws) - chance) < 4 * spread


def test_measures_of_a_member_with_itself_are_one(fit: PopulationFit) -> None:
    for measure in MEASURES:
        own = np.diagonal(measure.matrix(fit.layers[0]))
        assert own == pytest.approx(1.0)


def test_a_zero_update_has_no_cosine(fit: PopulationFit) -> None:
    inner = fit.layers[0].inner.copy()
    inner[3], inner[:, 3] = 0.0, 0.0
    first, second, columns = pair_values(replace(fit.layers[0], inner=inner))
    undefined = [
        (int(i), int(j))
        for i, j, cosine in zip(first, second, columns[0], strict=True)
        if np.isnan(cosine)
    ]
    n = len(inner)
    others = [m for m in range(n) if m != 3]
    assert undefined == sorted((min(3, m), max(3, m)) for m in others)


def test_packing_keeps_four_digits() -> None:
    rng = np.random.default_rng(1)
    matrix = rng.uniform(-1, 1, (9, 9))
    matrix = (matrix + matrix.T) / 2
    matrix[2, 5] = matrix[5, 2] = np.nan
    codes = np.frombuffer(base64.b64decode(pack(matrix, low=-1.0)), "<u2")
    expected = [matrix[i, j] for i in range(9) for j in range(i + 1, 9)]
    for code, value in zip(codes.tolist(), expected, strict=True):
        if np.isnan(value):
            assert code == UNDEFINED
        else:
            assert code / 65534 * 2 - 1 == pytest.approx(value, abs=2e-5)


def test_the_ends_of_the_range_are_not_the_code_for_undefined() -> None:
    matrix = np.array([[1.0, 1.0], [1.0, 1.0]])
    assert base64.b64decode(pack(matrix, low=0.0)) == b"\xfe\xff"
    assert base64.b64decode(pack(0 * matrix, low=0.0)) == b"\x00\x00"


def test_similar_members_become_neighbours() -> None:
    family = np.array([0, 1, 2] * 5)
    matrix = np.where(family[:, None] == family[None, :], 0.8, 0.05)
    np.fill_diagonal(matrix, 1.0)
    order = clustered(matrix)
    assert sorted(order) == list(range(15))
    changes = np.count_nonzero(np.diff(family[order]))
    assert changes == 2


def test_undefined_values_do_not_stop_the_order() -> None:
    matrix = np.full((4, 4), np.nan)
    assert sorted(clustered(matrix)) == [0, 1, 2, 3]
    assert clustered(np.eye(2)) == [0, 1]


def random_values(n: int, seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).uniform(-1, 1, (n, n))
    values = (values + values.T) / 2
    np.fill_diagonal(values, 1.0)
    return values


@pytest.mark.parametrize("n", [2, 3, 12])
def test_branches_join_at_the_mean_value_between_them(n: int) -> None:
    matrix = random_values(n, seed=n)
    found = tree(matrix)
    # Average linkage as it is defined: the two most alike become one.
    branches = [frozenset([i]) for i in range(n)]
    joined = {}
    while len(branches) > 1:
        value, a, b = max(
            (matrix[np.ix_(sorted(a), sorted(b))].mean(), i, j)
            for i, a in enumerate(branches)
            for j, b in enumerate(branches[:i])
        )
        whole = branches[a] | branches[b]
        joined[whole] = value
        branches = [x for x in branches if not x < whole] + [whole]
    for at, (i, j) in enumerate(
        zip(found.order, found.order[1:], strict=False)
    ):
        smallest = min((x for x in joined if {i, j} <= x), key=len)
        assert found.joins[at] == pytest.approx(joined[smallest])


def test_one_member_is_a_tree_without_joins() -> None:
    assert tree(np.eye(1)).order == [0]
    assert tree(np.eye(1)).joins.size == 0
    assert elbows(tree(np.eye(1)).joins).shape == (0, 4, 2)


def test_elbows_are_those_of_a_dendrogram() -> None:
    matrix = random_values(15, seed=4)
    found = tree(matrix)
    condensed = distance.squareform(1 - matrix, checks=False)
    merged = hierarchy.linkage(condensed, "average", optimal_ordering=True)
    drawn = hierarchy.dendrogram(merged, no_plot=True)
    assert drawn["leaves"] == found.order
    lines = elbows(found.joins)
    own = np.dstack([lines[..., 0], np.nan_to_num(1 - lines[..., 1])])
    # There the first leaf is at 5, and the others are 10 apart.
    others = np.dstack([np.array(drawn["icoord"]) / 10 - 0.5, drawn["dcoord"]])
    key = lambda rows: sorted(map(tuple, rows.reshape(-1, 8).round(9)))  # noqa: E731
    assert np.allclose(key(own), key(others))
