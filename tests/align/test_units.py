"""Units that answer to the same items: found, counted, and not by chance."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import kstest

import spectra
from spectra.align.representations import units as module
from spectra.align.representations.null import order_of
from spectra.align.representations.units import (
    best_correlation,
    mutual,
    units,
)
from spectra.core.errors import UsageError

N = 50


def planted(seed=0, n=N, a=9, b=7, common=3, noise=0.1):
    """Activations whose first units of a are some of b, in another order."""
    rng = np.random.default_rng(seed)
    X, Y = rng.standard_normal((n, a)), rng.standard_normal((n, b))
    places = rng.permutation(b)[:common]
    Y[:, places] = 5 * X[:, :common] + noise * rng.standard_normal((n, common))
    return X, Y + 3, places


def correlations(X, Y):
    return np.corrcoef(X.T, Y.T)[: X.shape[1], X.shape[1] :]


@pytest.mark.parametrize("block", [module._BLOCK, 200])
def test_nearest_units_are_those_of_the_correlations(monkeypatch, block):
    monkeypatch.setattr(module, "_BLOCK", block)
    X, Y, _ = planted()
    C = correlations(X, Y)
    wanted = {
        (i, j): C[i, j]
        for i in range(9)
        for j in range(7)
        if C[i, j] == C[i].max() == C[:, j].max() > 0
    }
    found = mutual(units(X), units(Y))
    assert set(zip(found.a, found.b, strict=True)) == set(wanted)
    assert_allclose(
        found.r,
        [wanted[pair] for pair in zip(found.a, found.b, strict=True)],
    )
    assert (np.diff(found.r) <= 0).all()
    order = np.random.default_rng(1).permutation(N)
    assert_allclose(
        best_correlation(units(X), units(Y), order),
        correlations(X, Y[order]).max(),
    )


def test_units_that_never_move_are_nobodys_like():
    X, Y, _ = planted()
    X[:, 8], Y[:, 0] = 1e6, 0.1
    found = mutual(units(X.astype("f4")), units(Y.astype("f4")))
    assert 8 not in found.a
    assert 0 not in found.b


def test_units_of_opposite_sign_are_not_alike():
    X = np.random.default_rng(0).standard_normal((N, 1))
    assert len(mutual(units(X), units(-X)).r) == 0


@pytest.fixture
def files(tmp_path):
    X, Y, places = planted()
    np.save(tmp_path / "a.npy", X.astype("f4"))
    np.save(tmp_path / "b.npy", Y.astype("f4"))
    return tmp_path / "a.npy", tmp_path / "b.npy", places


def test_planted_units_are_found_and_no_others(files):
    a, b, places = files
    found = spectra.units(a, b, draws=19, seed=1)
    assert {(row["unit_a"], row["unit_b"]) for row in found.units} == set(
        enumerate(places)
    )
    X, Y = np.load(a).astype(float), np.load(b).astype(float)
    C = correlations(X, Y)
    highest = [
        correlations(X, Y[order_of(1, N, draw)]).max() for draw in range(1, 20)
    ]
    for row in found.units:
        r = C[row["unit_a"], row["unit_b"]]
        assert_allclose(row["r"], r, rtol=1e-5)
        assert row["p"] == (1 + np.sum(np.array(highest) >= r)) / 20 == 0.05
    (layer,) = found.layers
    assert layer["n_rosetta"] == 3 <= layer["n_mutual"]
    assert layer["share"] == 3 / 7
    assert layer["highest"] == found.units[0]["r"]
    assert found.text == (
        "3 units of a.npy have their like in b.npy, of 7 that could, over 50"
        " items"
    )


def test_where_there_is_nothing_p_of_the_nearest_is_uniform(tmp_path):
    """Of all units, and of all pairs of layers together."""
    found = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        np.save(tmp_path / "a.npy", rng.standard_normal((20, 2, 5)))
        np.save(tmp_path / "b.npy", rng.standard_normal((20, 6)))
        made = spectra.units(
            tmp_path / "a.npy", tmp_path / "b.npy", draws=19, seed=seed
        )
        best = max(row["highest"] for row in made.layers)
        if made.units:
            assert made.units[0]["r"] == best
        X = np.load(tmp_path / "a.npy").reshape(20, 10)
        Y = np.load(tmp_path / "b.npy")
        highest = [
            correlations(X, Y[order_of(seed, 20, draw)]).max()
            for draw in range(1, 20)
        ]
        p = (1 + np.sum(np.array(highest) >= best)) / 20
        assert bool(made.units) == (p <= 0.05)
        found.append(p - rng.random() / 20)
    assert kstest(found, "uniform").pvalue > 0.01


def test_layers_that_hold_the_same_units(tmp_path):
    rng = np.random.default_rng(0)
    one, two = rng.standard_normal((2, N, 3, 6))
    two[:, 2] = one[:, 1, ::-1]
    np.save(tmp_path / "one.npy", one)
    np.save(tmp_path / "two.npy", two)
    found = spectra.units(tmp_path / "one.npy", tmp_path / "two.npy")
    counts = {
        (row["layer_a"], row["layer_b"]): row["n_rosetta"]
        for row in found.layers
    }
    assert counts.pop(("1", "2")) == 6
    assert set(counts.values()) == {0}
    assert found.text.startswith(
        "6 units of layer 1 of one.npy have their like in layer 2 of two.npy,"
    )
    assert {(row["unit_a"], row["unit_b"]) for row in found.units} == {
        (i, 5 - i) for i in range(6)
    }


def test_nothing_is_said_to_be_alike_where_nothing_is(tmp_path):
    rng = np.random.default_rng(2)
    for name in "ab":
        np.save(tmp_path / f"{name}.npy", rng.standard_normal((N, 4)))
    found = spectra.units(tmp_path / "a.npy", tmp_path / "b.npy")
    assert found.units == []
    assert "no two units are more alike than permuted items" in found.text


def test_what_cannot_be_asked(files, tmp_path):
    with pytest.raises(UsageError, match="18 draws") as caught:
        spectra.units(*files[:2], draws=18)
    assert caught.value.code == "E_DRAWS"
    np.save(tmp_path / "x.npy", np.eye(7))
    with pytest.raises(UsageError, match="7 items") as caught:
        spectra.units(tmp_path / "x.npy", tmp_path / "x.npy")
    assert caught.value.code == "E_ALIGN"


def test_draws_that_reach_a_correlation_count(tmp_path):
    """One item of eight stands out: one permutation in eight keeps it."""
    np.save(tmp_path / "x.npy", np.eye(8)[:, :1])
    found = spectra.units(tmp_path / "x.npy", tmp_path / "x.npy")
    (layer,) = found.layers
    assert_allclose(layer["highest"], 1)
    assert (layer["n_mutual"], layer["n_rosetta"]) == (1, 0)
