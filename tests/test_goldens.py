"""Values known before this code was, each through what a user would run."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from safetensors.numpy import load_file

import spectra
from spectra.core.settings import OverlapSettings
from spectra.statistics.chance import random_overlap
from spectra.statistics.document.report import measure
from spectra.statistics.measures import (
    expected_norms,
    expected_unit_norm,
    unit_norm_evr,
)
from spectra.statistics.nulls.table import unrelated
from spectra.statistics.sides.pairs import projector_edge
from spectra.statistics.vectors import deviations
from spectra.study.basis import write_basis
from tests.checkpoints import adapters, dense, write_adapter
from tests.statistics.planted import fit_of


def axis_of(maps, **options):
    fit = fit_of(maps)
    settings = OverlapSettings(**options)
    return measure(fit, settings)["layers"][0]["model_axis"]


def wide(folder, shared, *, n=120, r=16, d=1024):
    """Write adapters on a side of d dimensions that share some directions."""
    rng = np.random.default_rng(0)
    common, _ = np.linalg.qr(rng.standard_normal((d, max(1, shared))))
    for i in range(n):
        A = rng.standard_normal((r, d)) / np.sqrt(d)
        A[:shared] = common.T[:shared]
        layers = {"q": (A, rng.standard_normal((r, r)))}
        write_adapter(folder / f"a{i}", layers, r)
    return layer_of(folder)


def layer_of(folder):
    run = spectra.fit(spectra.scan(folder))
    return spectra.overlap(run, null=("strength", "side-strength")).layers[0]


def test_random_subspaces_overlap_by_chance():
    mean, spread = random_overlap(16, 16, 768)
    assert_allclose((mean, spread), (0.0208, 0.0018), atol=5e-5)
    rng, seen = np.random.default_rng(0), []
    for _ in range(60):
        U, V = (
            np.linalg.qr(rng.standard_normal((256, k)))[0] for k in (16, 64)
        )
        seen.append(np.sum((U.T @ V) ** 2) / 16)
    mean, spread = random_overlap(16, 64, 256)
    assert (mean, round(spread, 3)) == (0.25, 0.009)
    assert_allclose(np.mean(seen), mean, atol=4 * spread / np.sqrt(60))
    assert_allclose(np.std(seen), spread, rtol=0.3)


def test_unrelated_members_explain_k_of_n_less_one_and_a_little_more():
    cosines = unrelated(100, 768**2, 50, np.random.default_rng(0))
    shares = np.cumsum(np.linalg.eigvalsh(_centred(cosines))[:, ::-1], 1)
    shares = (shares / shares[:, -1:]).mean(axis=0)
    known = {1: 0.0104, 4: 0.0414, 16: 0.1648, 32: 0.3281, 64: 0.6515}
    for k, share in known.items():
        assert_allclose(shares[k - 1], share, atol=1e-4)
        assert k / 99 < shares[k - 1]
    orthogonal = axis_of(np.eye(40).reshape(40, 5, 8))
    for k in ("1", "4", "16"):
        assert_allclose(orthogonal["evr"][k], int(k) / 39)


def _centred(grams):
    n = grams.shape[-1]
    J = np.eye(n) - 1 / n
    return J @ grams @ J


def test_the_projector_mean_of_random_adapters_ends_at_its_edge(tmp_path):
    side = wide(tmp_path, 0)["input_side"]
    assert_allclose(projector_edge(np.full(120, 16), 1024), 0.0468, atol=5e-5)
    assert_allclose(side["projector_edge"], 0.0468, atol=5e-5)
    assert_allclose(side["projector_mean"][0], 0.0463, atol=1e-3)
    assert [row["shared_by"] for row in side["consensus"]] == [0] * 16
    assert side["verdict"] == "not-shared"


def test_four_planted_directions_are_found_exactly(tmp_path):
    side = wide(tmp_path, 4)["input_side"]
    assert_allclose(side["projector_mean"][:4], 1, atol=1e-6)
    assert_allclose(side["projector_mean"][4], 0.039, atol=1e-3)
    shared_by = [row["shared_by"] for row in side["consensus"]]
    assert shared_by == [120] * 4 + [0] * 12


@pytest.mark.parametrize(
    ("share", "value"), [(0.25, 0.260), (0.5, 0.509), (0.75, 0.754)]
)
def test_a_shared_factor_is_a_mixture(tmp_path, share, value):
    rng, d, r = np.random.default_rng(0), 1024, 16
    first = rng.standard_normal((r, d))
    for i in range(100):
        A = first if i < 100 * share else rng.standard_normal((r, d))
        B = np.linalg.qr(rng.standard_normal((64, r)))[0]
        A = np.linalg.qr(A.T)[0].T
        write_adapter(tmp_path / f"a{i:03d}", {"q": (A, B)}, r)
    layer = layer_of(tmp_path)
    assert layer["verdict"] == "shared-initialisation"
    found = layer["input_side"]["evr"]["16"]
    assert_allclose(found, share + (1 - share) * r / d, atol=0.02)
    assert_allclose(found, value, atol=0.01)


def test_the_error_of_a_reconstruction_is_of_mean_and_spectrum():
    rng = np.random.default_rng(0)
    maps = rng.lognormal(0, 1, (20, 1, 1)) * rng.standard_normal((20, 6, 9))
    maps += rng.standard_normal((6, 9))
    axis, X = axis_of(maps), maps.reshape(20, -1)
    mean = X.mean(axis=0)
    V = np.linalg.svd(X - mean, full_matrices=False)[2]
    for k in (1, 4, 16):
        guess = mean + (X - mean) @ V[:k].T @ V[:k]
        error = np.sum((X - guess) ** 2) / np.sum(X**2)
        expected = (1 - axis["mean_fraction"]) * (1 - axis["evr"][str(k)])
        assert_allclose(error, expected, atol=1e-6)


@pytest.mark.parametrize("sigma", [0, 0.25, 0.5, 0.75, 1])
def test_norms_alone_raise_the_spectrum_as_schur_and_horn_say(sigma):
    rng = np.random.default_rng(0)
    lengths = np.exp(sigma * rng.standard_normal(100))
    Q = np.linalg.qr(rng.standard_normal((400, 100)))[0].T
    squares = np.sort(lengths**2)[::-1]
    floor = np.cumsum(squares) / squares.sum()
    fit = fit_of((lengths[:, None] * Q).reshape(100, 20, 20))
    (layer,) = fit.layers
    axis = deviations(layer, [member.id for member in fit.models])
    found = axis_of((lengths[:, None] * Q).reshape(100, 20, 20))["evr"]
    assert_allclose(found["16"], floor[15], atol=0.012)
    # Same norms, same spectrum: nothing is left that directions explain.
    assert_allclose(expected_norms(axis, [16]), found["16"], atol=1e-9)
    assert_allclose(unit_norm_evr(axis, [16]), expected_unit_norm(axis, [16]))
    # The theorem, of members that are not orthogonal.
    X = lengths[:, None] * rng.standard_normal((100, 150))
    values = np.linalg.eigvalsh(X @ X.T)[::-1]
    norms = np.sort(np.sum(X**2, axis=1))[::-1]
    assert np.all(np.cumsum(values) >= np.cumsum(norms) * (1 - 1e-12))


def test_merging_in_the_subspace_is_the_mean(tmp_path):
    folder, members, _ = dense(tmp_path, 7, {"a.weight": (8, 11)})
    run = spectra.fit(spectra.scan(folder), base="zero")
    write_basis(run.value, tmp_path / "b.st", k=3, axis="model")
    tensors = load_file(tmp_path / "b.st")
    mean = tensors["a.mean"].ravel().astype("f8")
    V = tensors["a.basis"].reshape(3, -1).astype("f8")
    X = np.stack([m["a.weight"].ravel() for m in members.values()])
    coefficients = (X - mean) @ V.T
    assert_allclose(coefficients.sum(axis=0), 0, atol=1e-4)
    assert np.abs(coefficients).min(axis=0).max() > 1e-3
    merged = np.mean(mean + coefficients @ V, axis=0)
    assert_allclose(merged, X.mean(axis=0), atol=1e-6)


def test_products_of_factors_and_of_cores_are_those_of_updates(tmp_path):
    folder, members = adapters(tmp_path, [3, 5, 4, 4, 2], {"q": (40, 30)})
    factors = [layers["q"] for layers in members.values()]
    updates = np.stack([s * B @ A for A, B, s in factors])
    X = updates.reshape(len(updates), -1)
    left = np.linalg.svd(np.hstack([B for _, B, _ in factors]), False)[0]
    right = np.linalg.svd(np.vstack([A for A, _, _ in factors]), False)[2]
    cores = np.stack([s * left.T @ B @ A @ right.T for A, B, s in factors])
    assert_allclose(left @ cores @ right, updates, atol=1e-12)
    C = cores.reshape(len(cores), -1)
    run = spectra.fit(spectra.scan(folder), precision="f64")
    (layer,) = run.value.layers
    gram = layer.gram / np.trace(layer.gram)
    assert_allclose(gram, X @ X.T / np.sum(X**2), atol=1e-14)
    assert_allclose(gram, C @ C.T / np.sum(X**2), atol=1e-14)
    assert_allclose(np.trace(layer.gram), np.sum(X**2), rtol=1e-12)
