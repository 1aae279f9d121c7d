"""Zero, mean, basis, and both: what each leaves of a member held out."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from spectra.core.settings import OverlapSettings
from spectra.statistics.document.report import measure
from tests.reference.naive import naive_fit
from tests.statistics.planted import planted

K = (1, 2, 4)
LABELS = np.array([0, 0, 1, 2, 2, 2, 3, 4, 5, 6, 7, 8])


@pytest.fixture(scope="module")
def maps():
    rng = np.random.default_rng(0)
    updates = planted(rng, 0.4, n=len(LABELS), shape=(6, 9))
    return updates + 0.1 * rng.standard_normal((6, 9))


def held_out(maps, base):
    models = {f"m{i:02d}": {"l": x} for i, x in enumerate(maps)}
    groups = {f"m{i:02d}": str(g) for i, g in enumerate(LABELS)}
    fit = naive_fit(models, base={"l": base} if base is not None else None)
    settings = OverlapSettings(k=K, groups=groups)
    (layer,) = measure(fit, settings)["layers"]
    return layer["model_axis"]["held_out"]


def leftovers(maps, labels, k):
    """Return the squares left by each of four predictions, and of nothing."""
    X = maps.reshape(len(maps), -1)
    left = np.zeros(4)
    for label in dict.fromkeys(labels):
        out = labels == label
        m = X[~out].mean(axis=0)
        V = np.linalg.svd(X[~out] - m, full_matrices=False)[2][:k].T
        x = X[out]
        both = m + (x - m) @ V @ V.T
        for i, guess in enumerate((0 * x, m, x @ V @ V.T, both)):
            left[i] += np.sum((x - guess) ** 2)
    return left


@pytest.mark.parametrize("k", K)
def test_each_prediction_leaves_what_explicit_ones_leave(maps, k):
    document = held_out(maps, np.zeros((6, 9)))
    alone = np.arange(len(LABELS))
    for found, labels in (
        (document, LABELS), (document["leave_one_out"], alone),
    ):  # fmt: skip
        zero, mean, basis, both = leftovers(maps, labels, k)
        assert found["folds"] == len(set(labels))
        assert_allclose(found["r2"]["mean"], 1 - mean / zero)
        assert_allclose(found["r2"]["basis_only"][str(k)], 1 - basis / zero)
        assert_allclose(found["r2"]["basis"][str(k)], 1 - both / zero)
        assert_allclose(found["captured"][str(k)], 1 - both / mean)
    assert document["r2"] != document["leave_one_out"]["r2"]


def test_without_relatives_one_group_is_one_member(maps, monkeypatch):
    apart = np.arange(len(LABELS))
    monkeypatch.setattr("tests.statistics.test_ablation.LABELS", apart)
    found = held_out(maps, np.zeros((6, 9)))
    single = found["leave_one_out"]
    assert single["captured"] == found["captured"]
    assert single["r2"].items() <= found["r2"].items()


def test_a_basis_without_a_common_start_says_nothing(maps):
    found = held_out(maps + np.ones((6, 9)), None)
    for r2 in (found["r2"], found["leave_one_out"]["r2"]):
        assert set(r2["basis_only"].values()) == {None}
        assert "common start" in r2["basis_only_reason"]
    assert found["r2"]["mean"] == 0.0
    assert "mean" not in found["leave_one_out"]["r2"]
