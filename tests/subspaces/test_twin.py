"""Everything that `fit` keeps of a layer, beside the literal twin's."""

from dataclasses import fields

import numpy as np
import pytest
from numpy.testing import assert_allclose

import spectra
from spectra.subspaces.representatives import FOLDS, deal
from tests.checkpoints import adapters, dense
from tests.reference.naive import naive_fit

SHAPES = {"block.0.up.weight": (48, 20), "block.0.down.weight": (20, 48)}
ATOL = {"f32": 2e-5, "f64": 1e-9}


def assert_same(found, expected, precision):
    """Compare all that does not depend on the order of digests."""
    atol = ATOL[precision]

    def close(a, b):
        scale = max(1.0, np.abs(b).max(initial=0.0))
        assert_allclose(a, b, atol=atol * scale)

    for entry in fields(found.weights):
        close(
            getattr(found.weights, entry.name),
            getattr(expected.weights, entry.name),
        )
    close(found.entry_sums, expected.entry_sums)
    close(found.row_sums, expected.row_sums)
    for side in ("output", "input"):
        mine, twin = getattr(found, side), getattr(expected, side)
        close(mine.phi, twin.phi)
        close(mine.cosines, twin.cosines)
        # An angle between equal directions is as exact as a square root.
        assert_allclose(mine.geodesic, twin.geodesic, atol=atol**0.5)
        # A stack of n K rows has no more eigenvalues than that.
        known = len(mine.projector_mean)
        close(mine.projector_mean, twin.projector_mean[:known])
        if precision == "f64":
            close(mine.consensus, twin.consensus)
        total = mine.folds.sums.sum(axis=0)
        close(total, np.diag(np.diagonal(total)))
        close(np.diagonal(total), mine.eigenvalues)
        close(mine.folds.traces.sum(), mine.trace)


def leading(maps, rank):
    """Return the maps made of their leading directions alone."""
    cut = []
    for x in maps:
        U, s, Vh = np.linalg.svd(x, full_matrices=False)
        cut.append((U[:, :rank] * s[:rank]) @ Vh[:rank])
    return cut


@pytest.mark.parametrize("precision", ["f32", "f64"])
@pytest.mark.parametrize("with_base", [False, True])
def test_full_weights(tmp_path, precision, with_base):
    folder, members, start = dense(tmp_path, 7, SHAPES, spread=0.5)
    options = {"base": str(tmp_path / "base")} if with_base else {}
    run = spectra.fit(
        spectra.scan(folder), precision=precision, rank=4, **options
    )
    twin = naive_fit(members, base=start if with_base else None, rank=4)
    expected = {
        layer.name.removesuffix(".weight"): layer for layer in twin.layers
    }
    for layer in run.value.layers:
        assert_same(layer, expected[layer.name], precision)
        maps = [m[f"{layer.name}.weight"] for m in members.values()]
        if with_base:
            maps = [x - start[f"{layer.name}.weight"] for x in maps]
        maps = leading(maps, 4)
        products = [[np.sum((x @ y.T) ** 2) for y in maps] for x in maps]
        scale = np.max(products)
        assert_allclose(layer.row_products, products, atol=1e-4 * scale)
        assert sorted(layer.fold_of) == list(range(7))


@pytest.mark.parametrize("precision", ["f32", "f64"])
@pytest.mark.parametrize("ranks", [[4] * 6, [2, 6, 4, 1, 6]])
def test_adapters(tmp_path, precision, ranks):
    shapes = {name.removesuffix(".weight"): s for name, s in SHAPES.items()}
    folder, members = adapters(tmp_path / "a", ranks, shapes)
    run = spectra.fit(spectra.scan(folder), precision=precision, rank=6)
    twin = {layer.name: layer for layer in naive_fit(members, rank=6).layers}
    for layer in run.value.layers:
        expected = twin[layer.name]
        assert_same(layer, expected, precision)
        scale = np.max(expected.row_products)
        assert_allclose(
            layer.row_products, expected.row_products, atol=1e-6 * scale
        )


def test_what_a_fold_holds_is_the_side_of_its_members(tmp_path):
    """25 members in 20 folds, from the files to the compressed sums."""
    folder, members, _ = dense(tmp_path, 25, {"w": (12, 9)})
    run = spectra.fit(
        spectra.scan(folder), precision="f64", save_directions=True
    )
    (layer,) = run.value.layers
    maps = [m["w"] for m in members.values()]
    assert layer.fold_of.max() == FOLDS - 1
    for side, covariance, Z in (
        (layer.output, lambda x: x @ x.T, layer.directions.output),
        (layer.input, lambda x: x.T @ x, layer.directions.input),
    ):
        for fold in range(FOLDS):
            chosen = np.flatnonzero(layer.fold_of == fold)
            C = sum(covariance(maps[i]) for i in chosen)
            assert_allclose(side.folds.traces[fold], np.trace(C))
            found = side.folds.sums[fold]
            # The directions are kept in float32.
            assert_allclose(found, Z.T @ C @ Z, atol=1e-5 * np.trace(C))


@pytest.mark.parametrize("kind", ["dense", "low-rank"])
def test_one_member_of_each_group_is_dealt(kind):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30, 400))
    X[10:20] = X[0] + 0.1 * X[10:20]
    gram = X @ X.T
    digests = [f"{i:02d}" for i in rng.permutation(30)]
    folds = deal(gram, None, kind, digests)
    group = [0, *range(10, 20)]
    assert np.count_nonzero(folds >= 0) == 20
    assert np.count_nonzero(folds[group] >= 0) == 1
    first = min(group, key=digests.__getitem__)
    assert folds[first] >= 0
    assert sorted(folds[folds >= 0]) == list(range(20))
    order = rng.permutation(30)
    again = deal(
        gram[np.ix_(order, order)], None, kind, [digests[i] for i in order]
    )
    assert (again == folds[order]).all()


def test_a_common_start_of_raw_factors_is_a_group():
    gram = np.eye(6)
    initial = np.eye(6)
    initial[:3, :3] += 0.4 * (1 - np.eye(3))
    folds = deal(gram, initial, "low-rank", list("abcdef"))
    assert folds.tolist() == [0, -1, -1, 1, 2, 3]
