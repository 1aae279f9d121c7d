"""The exported subspace against NumPy's, and against the checkpoints."""

import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

import spectra
from spectra.core.errors import IntegrityError, UsageError
from spectra.study.basis import write_basis
from tests.checkpoints import (
    adapters,
    dense,
    write_adapter,
    write_dense,
)
from tests.seam import sine

SHAPES = {"a.weight": (9, 14), "b.weight": (14, 9)}


def leading(maps, k):
    """Return the mean and the first k directions of the centred maps."""
    X = np.stack([x.reshape(-1) for x in maps])
    return X.mean(axis=0), np.linalg.svd(X - X.mean(axis=0))[2][:k].T


def assert_basis(tensors, name, maps, k):
    mean, directions = leading(maps, k)
    np.testing.assert_allclose(
        tensors[f"{name}.mean"], mean.reshape(maps[0].shape), atol=1e-5
    )
    basis = tensors[f"{name}.basis"].reshape(k, -1).astype("f8")
    np.testing.assert_allclose(basis @ basis.T, np.eye(k), atol=1e-5)
    assert sine(directions, basis.T) < 1e-4


@pytest.mark.parametrize("base", [None, "zero", "base"])
def test_full_weights(tmp_path, base):
    folder, members, start = dense(tmp_path, 6, SHAPES, spread=0.3)
    reference = str(tmp_path / "base") if base == "base" else base
    run = spectra.fit(spectra.scan(folder), base=reference)
    found = write_basis(run.value, tmp_path / "b.st", k=3, axis="model")
    tensors = load_file(found.path)
    assert found.layers == ("a", "b")
    assert found.nbytes == found.path.stat().st_size
    for name in ("a", "b"):
        key = f"{name}.weight"
        origin = start[key] if base == "base" else 0.0
        maps = [tensor[key] - origin for tensor in members.values()]
        assert_basis(tensors, name, maps, 3)
        scree = run.subspace(name, 3).eigenvalues
        X = np.stack([x.reshape(-1) for x in maps])
        s = np.linalg.svd(X - X.mean(axis=0), compute_uv=False)
        np.testing.assert_allclose(scree, s[:3] ** 2, rtol=1e-6)


def test_adapters(tmp_path):
    folder, members = adapters(tmp_path / "a", [4, 2, 4, 4], {"q": (12, 10)})
    run = spectra.fit(spectra.scan(folder))
    write_basis(run.value, tmp_path / "b.st", k=2, axis="model")
    maps = [
        s * B @ A for A, B, s in (layers["q"] for layers in members.values())
    ]
    assert_basis(load_file(tmp_path / "b.st"), "q", maps, 2)


@pytest.mark.parametrize("saved", [True, False])
@pytest.mark.parametrize("axis", ["output", "input"])
def test_sides(tmp_path, axis, saved):
    folder, members, _ = dense(tmp_path, 4, SHAPES)
    run = spectra.fit(
        spectra.scan(folder), precision="f64", save_directions=saved
    )
    write_basis(run.value, tmp_path / "b.st", k=3, axis=axis)
    basis = load_file(tmp_path / "b.st")["a.basis"]
    maps = [tensors["a.weight"] for tensors in members.values()]
    C = sum(x @ x.T if axis == "output" else x.T @ x for x in maps)
    assert basis.shape == (len(C), 3)
    assert sine(np.linalg.eigh(C)[1][:, ::-1][:, :3], basis) < 1e-5


def test_transposed_members_are_combined_the_right_way_round(tmp_path):
    rng = np.random.default_rng(0)
    maps = [rng.standard_normal((36, 12)) for _ in range(3)]
    for i, W in enumerate(maps):
        write_dense(
            tmp_path / "p" / f"m{i}",
            {"h.0.attn.c_attn.weight": W.T},
            config={"model_type": "gpt2"},
        )
    run = spectra.fit(spectra.scan(tmp_path / "p"))
    write_basis(run.value, tmp_path / "b.st", k=2, axis="model")
    tensors = load_file(tmp_path / "b.st")
    stored = [W.astype("f4").astype("f8") for W in maps]
    assert_basis(tensors, run.layers[0], stored, 2)


def test_members_and_settings_are_in_the_file(tmp_path):
    folder, _, _ = dense(tmp_path, 3, SHAPES)
    run = spectra.fit(spectra.scan(folder))
    write_basis(run.value, tmp_path / "b.st", k=2, axis="model", layers=("b",))
    with safe_open(tmp_path / "b.st", "np") as file:
        metadata = file.metadata()
        assert list(file.keys()) == ["b.basis", "b.mean"]
    members = json.loads(metadata["members"])
    assert [m["id"] for m in members] == ["m00", "m01", "m02"]
    assert json.loads(metadata["layers"]) == {"b": [0, 1, 2]}


def test_other_bytes_than_those_fitted_are_refused(tmp_path):
    folder, _, _ = dense(tmp_path, 3, SHAPES)
    run = spectra.fit(spectra.scan(folder))
    path = folder / "m01" / "model.safetensors"
    path.unlink()
    (folder / "m01" / "config.json").unlink()
    (folder / "m01").rmdir()
    write_dense(folder / "m01", {"a.weight": np.ones((9, 14))})
    with pytest.raises(IntegrityError, match="not the checkpoint"):
        write_basis(run.value, tmp_path / "b.st", k=2, axis="model")
    assert not (tmp_path / "b.st").exists()


def test_bytes_of_the_same_shapes_are_refused_too(tmp_path):
    """Two members that changed places have the same headers."""
    folder, _, _ = dense(tmp_path, 3, SHAPES)
    run = spectra.fit(spectra.scan(folder))
    (folder / "m00").rename(tmp_path / "x")
    (folder / "m01").rename(folder / "m00")
    (tmp_path / "x").rename(folder / "m01")
    for axis in ("model", "output"):
        with pytest.raises(IntegrityError, match="bytes that were fitted"):
            write_basis(run.value, tmp_path / "b.st", k=2, axis=axis)


def test_another_base_is_refused(tmp_path):
    folder, _, base = dense(tmp_path, 3, SHAPES, spread=0.1)
    run = spectra.fit(spectra.scan(folder), base=str(tmp_path / "base"))
    (tmp_path / "base").rename(tmp_path / "old")
    other = {name: W + 1 for name, W in base.items()}
    write_dense(tmp_path / "base", other)
    with pytest.raises(IntegrityError, match="bytes that were fitted"):
        write_basis(run.value, tmp_path / "b.st", k=2, axis="model")


def test_the_base_is_found_from_another_folder(tmp_path, monkeypatch):
    folder, _, _ = dense(tmp_path, 3, SHAPES, spread=0.1)
    monkeypatch.chdir(tmp_path)
    run = spectra.fit(spectra.scan(folder), base="base")
    monkeypatch.chdir("/")
    found = write_basis(run.value, tmp_path / "b.st", k=2, axis="model")
    assert found.layers == ("a", "b")


def test_layers_of_one_name_get_names_of_their_own(tmp_path):
    rng = np.random.default_rng(0)
    body = {f"l{i}.weight": (8, 9) for i in range(4)}
    for i in range(6):
        shapes = body | {"head.weight": (8, 5 if i < 3 else 7)}
        tensors = {n: rng.standard_normal(s) for n, s in shapes.items()}
        write_dense(tmp_path / "p" / f"m{i}", tensors)
    run = spectra.fit(spectra.scan(tmp_path / "p"))
    found = write_basis(run.value, tmp_path / "b.st", k=2, axis="model")
    tensors = load_file(found.path)
    heads = [name for name in tensors if name.startswith("head")]
    assert len(heads) == 4
    assert len(tensors) == 2 * len(run.layers) == 12
    with pytest.raises(UsageError, match="2 layers 'head'"):
        run.layer("head")


@pytest.mark.parametrize("low_rank", [True, False])
def test_directions_that_are_rounding_are_not_written(tmp_path, low_rank):
    """All outputs lie in one plane: that side has 2 directions, no more."""
    rng = np.random.default_rng(0)
    B = rng.standard_normal((12, 2))
    for i in range(5):
        A, folder = rng.standard_normal((2, 10)), tmp_path / "p" / f"m{i}"
        if low_rank:
            write_adapter(folder, {"q": (A, B)}, 2)
        else:
            write_dense(folder, {"q.weight": B @ A})
    run = spectra.fit(spectra.scan(tmp_path / "p"))
    found = {}
    for axis in ("output", "input"):
        write_basis(run.value, tmp_path / "b.st", k=8, axis=axis)
        found[axis] = load_file(tmp_path / "b.st")["q.basis"]
    assert found["output"].shape == (12, 2)
    assert found["input"].shape == (10, 8)
    assert sine(B, found["output"]) < 1e-5
    with pytest.raises(UsageError, match="64 directions at most"):
        write_basis(run.value, tmp_path / "b.st", k=65, axis="input")


def test_a_run_is_never_written_over_by_its_basis(tmp_path):
    folder, _, _ = dense(tmp_path, 3, SHAPES)
    run = spectra.fit(spectra.scan(folder), tmp_path / "run.h5")
    before = (tmp_path / "run.h5").read_bytes()
    with pytest.raises(UsageError, match="not made by this command"):
        write_basis(run.value, tmp_path / "run.h5", k=2, axis="model")
    assert (tmp_path / "run.h5").read_bytes() == before
    for _ in range(2):
        write_basis(run.value, tmp_path / "b.st", k=2, axis="model")


def test_no_matching_layer_is_a_usage_error(tmp_path):
    folder, _, _ = dense(tmp_path, 3, SHAPES)
    run = spectra.fit(spectra.scan(folder))
    with pytest.raises(UsageError, match="no two share a layer"):
        write_basis(
            run.value, tmp_path / "b.st", k=2, axis="model", layers=("z",)
        )
