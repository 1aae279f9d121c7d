"""The streamed fit against float64 decompositions of explicit matrices.

Everything here goes the whole way: files on disk, scan, fit, run in memory.
"""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import spectra
from spectra.linalg.gram import double_centred
from spectra.statistics.vectors import deviations
from tests.checkpoints import adapters, dense, factors, write_adapter
from tests.seam import sine

SHAPES = {"block.0.up.weight": (48, 20), "block.0.down.weight": (20, 48)}
MAPS = {name.removesuffix(".weight"): shape for name, shape in SHAPES.items()}

TOLERANCE = {"f32": 1e-7, "f64": 1e-12}


def eigenvalues(maps):
    """Return those of the centred model axis, from a dense SVD."""
    X = np.stack([np.asarray(x, float).reshape(-1) for x in maps])
    return np.linalg.svd(X - X.mean(axis=0), compute_uv=False) ** 2


def assert_spectrum(layer, maps, precision):
    expected = eigenvalues(maps)
    found = np.linalg.eigvalsh(double_centred(layer.inner))[::-1]
    worst = np.abs(found - expected).max() / expected[0]
    assert worst < TOLERANCE[precision]


def assert_sides(layer, maps, precision):
    tolerance = 1e-6 if precision == "f32" else 1e-12
    C_out = sum(x @ x.T for x in maps)
    C_in = sum(x.T @ x for x in maps)
    for side, C in ((layer.output, C_out), (layer.input, C_in)):
        expected = np.linalg.eigvalsh(C)[::-1][: len(side.eigenvalues)]
        worst = np.abs(side.eigenvalues - expected).max() / expected[0]
        assert worst < tolerance
        assert abs(side.trace / np.trace(C) - 1) < tolerance


def assert_members(layer, maps, rank, precision):
    """Singular values, and overlaps and projectors of leading directions."""
    # f32 angles are those of a float32 basis: 1e-3 at a tight spectrum.
    tolerance = 1e-3 if precision == "f32" else 1e-8
    svds = [np.linalg.svd(x, full_matrices=False) for x in maps]
    q = layer.ranks
    for i, (_, s, _) in enumerate(svds):
        np.testing.assert_allclose(
            layer.singular_values[i, : q[i]], s[: q[i]], rtol=1e-5
        )
        assert (layer.singular_values[i, q[i] :] == 0).all()
        assert q[i] == min(rank, np.sum(s > 1e-9 * s[0]))
    for side, bases in (
        (
            layer.output,
            [U[:, :k] for (U, _, _), k in zip(svds, q, strict=True)],
        ),
        (
            layer.input,
            [Vh[:k].T for (_, _, Vh), k in zip(svds, q, strict=True)],
        ),
    ):
        expected = [
            [np.linalg.norm(P.T @ Q) ** 2 for Q in bases] for P in bases
        ]
        np.testing.assert_allclose(side.overlap, expected, atol=tolerance)
        mean = sum(Q @ Q.T for Q in bases) / len(bases)
        np.testing.assert_allclose(
            side.projector_mean,
            np.linalg.eigvalsh(mean)[::-1][: len(side.projector_mean)],
            atol=tolerance,
        )


@pytest.mark.parametrize("precision", ["f32", "f64"])
@pytest.mark.parametrize("dtype", ["F32", "F64", "BF16", "F16"])
def test_full_weights(tmp_path, precision, dtype):
    folder, members, _ = dense(tmp_path, 7, SHAPES, dtype=dtype)
    run = spectra.fit(spectra.scan(folder), precision=precision, rank=4)
    assert set(run.layers) == set(MAPS)
    for layer in run.value.layers:
        maps = [m[f"{layer.name}.weight"] for m in members.values()]
        # F64 values are rounded when they are widened to float32 blocks.
        if dtype == "F64" and precision == "f32":
            maps = [x.astype("f4").astype("f8") for x in maps]
        assert layer.kind == "dense"
        assert_spectrum(layer, maps, precision)
        assert_sides(layer, maps, precision)
        assert_members(layer, maps, 4, precision)
        gram = [[np.vdot(x, y) for y in maps] for x in maps]
        np.testing.assert_allclose(layer.gram, gram, atol=1e-6 * np.max(gram))


@pytest.mark.parametrize("precision", ["f32", "f64"])
@pytest.mark.parametrize("with_base", [True, False])
@pytest.mark.parametrize("dtype", ["BF16", "F32"])
def test_fine_tunes_that_hardly_moved(tmp_path, precision, with_base, dtype):
    """Differences of 1e-3 of the base: the common part must not eat digits."""
    folder, members, base = dense(
        tmp_path, 9, SHAPES, dtype=dtype, spread=1e-3
    )
    options = {"base": str(tmp_path / "base")} if with_base else {}
    run = spectra.fit(spectra.scan(folder), precision=precision, **options)
    for layer in run.value.layers:
        name = f"{layer.name}.weight"
        maps = [m[name] for m in members.values()]
        assert_spectrum(layer, maps, precision)
        if with_base:
            assert layer.kind == "difference"
            moved = [x - base[name] for x in maps]
            assert_sides(layer, moved, precision)
            total = sum(np.vdot(x, x) for x in moved)
            assert abs(np.trace(layer.gram) / total - 1) < 1e-5


@pytest.mark.parametrize("precision", ["f32", "f64"])
@pytest.mark.parametrize("ranks", [[8] * 6, [2, 8, 4, 1, 8], [20, 3, 20]])
def test_adapters_of_any_ranks(tmp_path, precision, ranks):
    folder, members = adapters(tmp_path / "a", ranks, MAPS)
    run = spectra.fit(spectra.scan(folder), precision=precision, rank=6)
    for layer in run.value.layers:
        maps = [
            s * B @ A for A, B, s in (m[layer.name] for m in members.values())
        ]
        assert layer.kind == "low-rank"
        assert_spectrum(layer, maps, precision)
        assert_sides(layer, maps, precision)
        assert_members(layer, maps, 6, precision)
        raw = [m[layer.name][0] for m in members.values()]
        expected = [
            [np.vdot(P, Q) if len(P) == len(Q) else 0.0 for Q in raw]
            for P in raw
        ]
        np.testing.assert_allclose(layer.initial, expected, atol=1e-5)


def test_many_members_are_multiplied_in_float32(tmp_path):
    """Beyond 64 members products are float32, with norms kept in float64."""
    folder, members, _ = dense(tmp_path, 70, {"w.weight": (96, 128)})
    layer = spectra.fit(spectra.scan(folder)).value.layers[0]
    maps = [tensors["w.weight"] for tensors in members.values()]
    assert_spectrum(layer, maps, "f32")
    centred = np.stack(maps).reshape(70, -1)
    centred = centred - centred.mean(axis=0)
    norms = (centred**2).sum(axis=1)
    found = np.diag(double_centred(layer.inner))
    np.testing.assert_allclose(found, norms, rtol=2e-8)


def singular_values_of(layer):
    """Return those of the centred model axis."""
    values = np.linalg.eigvalsh(double_centred(layer.inner))[::-1]
    return np.sqrt(np.maximum(values, 0))


def test_many_adapters_that_hardly_differ_keep_their_digits(tmp_path):
    """Float32 products would lose them: such a layer's are float64.

    Its directions are kept in float32, about as finely as they were stored.
    No singular value moves by more than the floor that the layer states.
    """
    rng = np.random.default_rng(5)
    A, B = factors(rng, 40, 4, 30)
    maps = []
    for i in range(70):
        b = (B + 1e-5 * rng.standard_normal(B.shape)).astype("f4")
        a = A.astype("f4")
        write_adapter(tmp_path / f"a{i:02d}", {"q": (a, b)}, 4)
        maps.append(b.astype("f8") @ a.astype("f8"))
    catalog = spectra.scan(tmp_path)
    (layer,) = spectra.fit(catalog).value.layers
    expected = np.sqrt(eigenvalues(maps))
    axis = deviations(layer, [f"a{i:02d}" for i in range(70)])
    moved = np.abs(singular_values_of(layer) - expected)
    assert (moved <= np.sqrt(axis.floor)).all()
    assert axis.floor < 1e-4 * axis.eigenvalues[0]
    (layer,) = spectra.fit(catalog, precision="f64").value.layers
    # 1e-16 of the common part is 1e-9 of what the members differ by.
    assert_spectrum(layer, maps, "f32")


@pytest.mark.parametrize("shape", [(30, 50), (50, 30)])
def test_directions_are_those_of_numpy(tmp_path, shape):
    folder, members, _ = dense(tmp_path, 4, {"w": shape})
    run = spectra.fit(
        spectra.scan(folder), precision="f64", rank=5, save_directions=True
    )
    layer = run.value.layers[0]
    for i, tensors in enumerate(members.values()):
        U, _, Vh = np.linalg.svd(tensors["w"])
        assert sine(U[:, :5], layer.directions.left[i]) < 1e-5
        assert sine(Vh[:5].T, layer.directions.right[i]) < 1e-5
    C = sum(t["w"] @ t["w"].T for t in members.values())
    leading = np.linalg.eigh(C)[1][:, ::-1][:, :3]
    assert sine(leading, layer.directions.output[:, :3]) < 1e-5


@pytest.mark.parametrize(
    ("name", "tensors"),
    [("ani", None), ("jeffy-massive", None), ("sceptr", None)],
)
@pytest.mark.parametrize("precision", ["f32", "f64"])
def test_real_full_weights(populations: Path, name, tensors, precision):
    run = spectra.fit(spectra.scan(populations / name), precision=precision)
    assert len(run.layers) > 0
    for layer in run.value.layers:
        maps = [
            _tensor(Path(run.models[i].path), layer.name)
            for i in layer.members
        ]
        assert_spectrum(layer, maps, precision)
        assert_sides(layer, maps, precision)


_FUSED = ("q_proj", "k_proj", "v_proj")


def _tensor(folder: Path, name: str):
    tensors = load_file(folder / "model.safetensors")
    place, _, part = name.rpartition(".")
    fused = tensors.get(f"{place}.in_proj_weight")
    if part in _FUSED and fused is not None:
        return np.split(fused, 3)[_FUSED.index(part)].astype("f8")
    return tensors.get(name, tensors.get(f"{name}.weight")).astype("f8")


@pytest.mark.parametrize("name", ["minilm-lora", "minilm-lora-same-seed"])
@pytest.mark.parametrize("precision", ["f32", "f64"])
def test_real_adapters(populations: Path, name, precision):
    run = spectra.fit(spectra.scan(populations / name), precision=precision)
    assert len(run.layers) == 12
    for layer in run.value.layers:
        maps = []
        for i in layer.members:
            path = Path(run.models[i].path) / "adapter_model.safetensors"
            tensors, key = load_file(path), f"base_model.model.{layer.name}"
            A = tensors[f"{key}.lora_A.weight"].astype("f8")
            B = tensors[f"{key}.lora_B.weight"].astype("f8")
            maps.append(2.0 * B @ A)
        assert_spectrum(layer, maps, precision)
        if layer.name.endswith("3.attention.self.value"):
            assert_sides(layer, maps, precision)
            assert_members(layer, maps, 16, precision)


def test_scikit_learn_pca_agrees(populations: Path):
    from sklearn.decomposition import PCA

    run = spectra.fit(spectra.scan(populations / "jeffy-massive"))
    layer = run.value.layers[0]
    X = np.stack(
        [
            _tensor(Path(run.models[i].path), layer.name).reshape(-1)
            for i in layer.members
        ]
    )
    pca = PCA(n_components=16, svd_solver="full").fit(X)
    subspace = run.subspace(layer.name, 16)
    np.testing.assert_allclose(
        subspace.eigenvalues / (len(X) - 1), pca.explained_variance_, rtol=1e-6
    )
    directions = (subspace.coefficients.T @ (X - X.mean(axis=0))).T
    assert sine(pca.components_.T, directions) < 1e-4
    np.testing.assert_allclose(
        np.abs(subspace.coordinates), np.abs(pca.transform(X)), atol=1e-3
    )
