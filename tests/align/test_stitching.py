"""Maps between representations: found, judged on other items, exported."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from safetensors.torch import load_file
from scipy.linalg import orthogonal_procrustes
from scipy.stats import kstest
from sklearn.linear_model import Ridge

import spectra
from spectra.align.representations.null import measured
from spectra.align.representations.stitching import MAPS, folds_of, stitch
from spectra.core.errors import UsageError

KINDS = {kind.name: kind for kind in MAPS}
N = 60


def pair(seed=0, n=N, a=7, b=5, noise=0.3):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, a)) + rng.standard_normal(a)
    Y = X @ rng.standard_normal((a, b)) + rng.standard_normal(b)
    return X, Y + noise * rng.standard_normal(Y.shape)


def folds(n=N, count=5, seed=0):
    return folds_of(n, count, np.random.default_rng(seed))


def gcv(X, Y, ridge, constant):
    """Golub, Heath and Wahba's score, from the hat matrix as it is defined."""
    n = len(X)
    H = np.full((n, n), 1 / n) if constant else np.zeros((n, n))
    X = X - X.mean(axis=0) if constant else X
    H = H + X @ np.linalg.solve(X.T @ X + ridge * np.eye(X.shape[1]), X.T)
    missed = np.linalg.norm(Y - H @ Y) ** 2
    return missed / (n - np.trace(H)) ** 2


@pytest.mark.parametrize("noise", [0.01, 3.0, 30.0])
@pytest.mark.parametrize("name", ["linear", "affine"])
def test_a_ridge_is_that_of_scikit_learn_at_the_least_gcv(name, noise):
    X, Y = pair(noise=noise, n=20, a=12)
    constant = name == "affine"
    found = KINDS[name].prepare(X)(Y)
    alike = Ridge(alpha=found.ridge, fit_intercept=constant).fit(X, Y)
    assert_allclose(found.W, alike.coef_.T, atol=1e-9)
    assert_allclose(found.b, alike.intercept_, atol=1e-9)
    away = X - X.mean(axis=0) if constant else X
    unit = np.mean(np.linalg.svd(away, compute_uv=False) ** 2)
    tried = unit * np.array([0.0, *10.0 ** np.arange(-8.0, 3.0)])
    scores = [gcv(X, Y, ridge, constant) for ridge in tried]
    assert_allclose(found.ridge, tried[np.argmin(scores)])
    assert (found.ridge > 1e-3 * unit) == (noise > 1)


def test_an_orthogonal_map_is_that_of_scipy():
    X, Y = pair(a=6, b=6)
    found = KINDS["orthogonal"].prepare(X)(Y)
    away, aim = X - X.mean(axis=0), Y - Y.mean(axis=0)
    Q, size = orthogonal_procrustes(away, aim)
    assert_allclose(found.W, size / np.linalg.norm(away) ** 2 * Q)
    assert_allclose(found(X).mean(axis=0), Y.mean(axis=0))


@pytest.mark.parametrize(("a", "b"), [(6, 6), (4, 7), (7, 4)])
def test_no_scale_of_the_rotation_is_better(a, b):
    X, Y = pair(a=a, b=b)
    found = KINDS["orthogonal"].prepare(X)(Y)
    away, aim = X - X.mean(axis=0), Y - Y.mean(axis=0)
    least = np.linalg.norm(aim - away @ found.W)
    for scale in (0.99, 1.01):
        assert np.linalg.norm(aim - scale * (away @ found.W)) > least
    values = np.linalg.svd(found.W, compute_uv=False)
    assert_allclose(values, values[0])


@pytest.mark.parametrize("name", KINDS)
def test_what_is_explained_is_that_of_the_definition(name):
    X, Y = pair(noise=2.0)
    order = np.random.default_rng(1).permutation(N)
    for moved in (np.arange(N), order):
        missed = total = 0.0
        for fold in folds():
            rest = np.setdiff1d(np.arange(N), fold)
            found = KINDS[name].prepare(X[rest])(Y[moved][rest])
            middle = Y[moved][rest].mean(axis=0)
            for i in fold:
                missed += np.sum((Y[moved[i]] - X[i] @ found.W - found.b) ** 2)
                total += np.sum((Y[moved[i]] - middle) ** 2)
        made = stitch(KINDS[name], X, Y, folds())
        assert_allclose(made.explained(moved), 1 - missed / total)


def test_folds_part_the_items():
    parts = folds(23, 4)
    assert sorted(np.concatenate(parts)) == list(range(23))
    assert sorted(map(len, parts)) == [5, 6, 6, 6]


def test_kinds_of_maps_hold_what_they_are_for():
    """A rotation is all three, a shear no rotation, a shift not linear."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, 5))
    Q = np.linalg.qr(rng.standard_normal((5, 5)))[0]
    shear = rng.standard_normal((5, 5)) * [1, 1, 1, 1, 20]

    def explained(Y):
        here = np.arange(N)
        return {
            name: stitch(kind, X, Y, folds()).explained(here)
            for name, kind in KINDS.items()
        }

    assert_allclose(list(explained(3 * X @ Q).values()), 1)
    found = explained(X @ shear)
    assert_allclose([found["linear"], found["affine"]], 1)
    assert found["orthogonal"] < 0.95
    found = explained(3 * X @ Q + 100)
    assert_allclose([found["affine"], found["orthogonal"]], 1)
    assert found["linear"] < 0


def test_what_is_fitted_to_noise_explains_nothing_of_other_items():
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((30, 50)), rng.standard_normal((30, 4))
    for kind in MAPS:
        assert stitch(kind, X, Y, folds(30)).explained(np.arange(30)) < 0.1


def test_items_are_found_again():
    X, Y = pair(noise=1.0)
    here = np.arange(N)
    for kind in MAPS:
        count = 0
        for fold in folds():
            rest = np.setdiff1d(here, fold)
            found = kind.prepare(X[rest])(Y[rest])
            middle = Y[rest].mean(axis=0)
            for i in fold:
                image = found(X[[i]])[0] - middle
                near = [
                    image @ (Y[j] - middle) / np.linalg.norm(Y[j] - middle)
                    for j in fold
                ]
                count += fold[int(np.argmax(near))] == i
        share, chance = stitch(kind, X, Y, folds()).found_again()
        assert share == count / N > 3 * chance
        assert chance == 5 / N


def test_p_is_uniform_where_there_is_nothing():
    found = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        X, Y = rng.standard_normal((24, 4)), rng.standard_normal((24, 3))
        made = stitch(KINDS["affine"], X, Y, folds(24, 4, seed))
        highest = measured(
            made.explained, (0, 0), 24, draws=19, seed=seed,
            told=lambda: None,
        )  # fmt: skip
        found.append(highest.p - rng.random() / 20)
    assert kstest(found, "uniform").pvalue > 0.01


@pytest.fixture
def files(tmp_path):
    X, Y = pair(noise=0.5)
    np.save(tmp_path / "a.npy", X.astype("f4"))
    np.save(tmp_path / "b.npy", Y.astype("f4"))
    return tmp_path / "a.npy", tmp_path / "b.npy"


def test_the_document(files):
    found = spectra.stitch(*files, draws=19)
    assert [row["kind"] for row in found.maps] == list(KINDS)
    for row in found.maps:
        assert row["p"] == 0.05
        assert row["null_mean"] < row["null_high"] < row["r2"] < 1
        assert row["chance"] == 5 / N
        assert (row["a"], row["b"]) == ("a.npy", "b.npy")
    best = max(found.maps, key=lambda row: row["r2"])
    assert f"({best['kind']}) from a.npy explains" in found.text
    assert found.document["out"] is None
    other = spectra.stitch(*files, draws=19, kind=["affine"], seed=3).maps
    assert [row["kind"] for row in other] == ["affine"]
    assert other[0]["r2"] != found.maps[1]["r2"]


def test_the_best_map_is_written_for_torch(files, tmp_path):
    out = tmp_path / "map.safetensors"
    found = spectra.stitch(*files, out, kind=["affine"], draws=19)
    X, Y = (np.load(path).astype(float) for path in files)
    layer = torch.nn.Linear(7, 5)
    layer.load_state_dict(load_file(out))
    made = layer(torch.tensor(X, dtype=torch.float32)).detach().numpy()
    assert_allclose(made, KINDS["affine"].prepare(X)(Y)(X), atol=1e-4)
    assert found.document["out"] == str(out)
    spectra.stitch(*files, out, draws=19)  # an older one is replaced
    for taken in (files[0], tmp_path):
        with pytest.raises(UsageError, match=r"\bis\b"):
            spectra.stitch(*files, taken, draws=19)


def test_the_best_of_layers_beside_the_best_of_permuted_ones(tmp_path):
    rng = np.random.default_rng(0)
    one, two = rng.standard_normal((2, 50, 3, 4))
    two[:, 2] = one[:, 1] @ rng.standard_normal((4, 4))
    np.save(tmp_path / "one.npy", one)
    np.save(tmp_path / "two.npy", two)
    (row,) = spectra.stitch(
        tmp_path / "one.npy", tmp_path / "two.npy", kind=["affine"], draws=19
    ).maps
    assert (row["layer_a"], row["layer_b"], row["p"]) == ("1", "2", 0.05)
    assert_allclose(row["r2"], 1)


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"kind": ["affin"]}, "E_METRIC"), ({"draws": 18}, "E_DRAWS"),
        ({"folds": 1}, "E_ALIGN"), ({"folds": 31}, "E_ALIGN"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked(files, asked, code):
    with pytest.raises(UsageError) as caught:
        spectra.stitch(*files, **asked)
    assert caught.value.code == code


def test_rows_that_are_all_the_same(files, tmp_path):
    np.save(tmp_path / "same.npy", np.ones((N, 3)))
    with pytest.raises(UsageError, match="same row") as caught:
        spectra.stitch(files[0], tmp_path / "same.npy", draws=19)
    assert caught.value.code == "E_FEATURES"
    # To map from them is possible, and explains nothing.
    for row in spectra.stitch(tmp_path / "same.npy", files[0], draws=19).maps:
        assert row["r2"] < 0.01


def test_few_items(tmp_path):
    np.save(tmp_path / "x.npy", np.eye(7))
    with pytest.raises(UsageError, match="7 items in common") as caught:
        spectra.stitch(tmp_path / "x.npy", tmp_path / "x.npy")
    assert caught.value.code == "E_ALIGN"
