"""Chance levels, orders and packing of pairs."""

import base64
from dataclasses import replace

import numpy as np
import pytest

from spectra.report.pairs import (
    MEASURES,
    UNDEFINED,
    clustered,
    pack,
    pair_values,
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
