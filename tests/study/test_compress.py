"""A compressed population beside its twin, its files and its members."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import spectra
from spectra.apply.compression.layer import Wish
from spectra.core.errors import (
    BudgetError,
    IntegrityError,
    Quarantine,
    UsageError,
)
from spectra.study.compression.compressed_files import digest_of
from spectra.study.compression.rebuilding import Workshop
from spectra.study.originals import Original
from tests.checkpoints import (
    DTYPES,
    adapters,
    dense,
    write_adapter,
    write_dense,
)
from tests.reference.compression import (
    naive_break_even,
    naive_compression,
    naive_fewest,
)

SHAPES = {"a.weight": (9, 14), "b.weight": (14, 9)}
OTHERS = {"norm.weight": (14,), "a.bias": (9,)}
STEP = {"F32": 2.0**-22, "F16": 2.0**-10, "BF16": 2.0**-7}
"""Twice the largest relative rounding of a number."""


def fine_tunes(folder, n, *, dtype="F32", seed=0, **more):
    """Write members of 2 layers and 2 other tensors; return their folder."""
    rng = np.random.default_rng(seed)
    start = {name: rng.standard_normal(s) for name, s in SHAPES.items()}
    for i in range(n):
        tensors = {
            name: start[name] + rng.standard_normal(shape)
            for name, shape in SHAPES.items()
        }
        others = {name: rng.standard_normal(s) for name, s in OTHERS.items()}
        write_dense(folder / f"m{i}", tensors | others, dtype, **more)
    return folder


def weights(folder):
    """Return all tensors of a checkpoint's files, in float64."""
    return {
        name: np.asarray(value).astype("f8")
        for path in sorted(folder.glob("*.safetensors"))
        for name, value in load_file(path).items()
    }


def compressed(folder, tmp_path, *, base=None, **wish):
    run = spectra.fit(spectra.scan(folder), base=base, precision="f64")
    return spectra.compress(run, tmp_path / "c", **wish)


def assert_close(found, expected, dtype):
    """Assert equal up to the rounding of float32 sums and of the dtype."""
    largest = max(np.abs(x).max() for x in expected.values())
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(
            found[name], values, rtol=STEP[dtype], atol=1e-6 * largest
        )


@pytest.mark.parametrize("dtype", ["F32", "BF16", "F16"])
def test_all_directions_are_every_member_again(tmp_path, dtype):
    folder = fine_tunes(tmp_path / "p", 5, dtype=dtype)
    found = compressed(folder, tmp_path, k=4)
    for layer in found.layers:
        assert (layer["k"], layer["error_in_sample"]) == (4, 0.0)
    for path in sorted(folder.iterdir()):
        out = tmp_path / "out" / path.name
        made = spectra.reconstruct(found.path, path.name, out)
        assert {row["error"] for row in made.layers} == {0.0}
        assert_close(weights(out), weights(path), dtype)
        old, new = (
            load_file(each / "model.safetensors") for each in (path, out)
        )
        for name, values in old.items():
            assert new[name].dtype == values.dtype == DTYPES[dtype]
            if name in OTHERS:
                assert new[name].tobytes() == values.tobytes()
            elif dtype != "F32":  # float32 sums are finer than its steps
                assert np.mean(new[name] != values) < 0.02


def test_header_and_configuration_are_the_members_own(tmp_path):
    config = {"model_type": "x", "architectures": ["Y"]}
    folder = fine_tunes(tmp_path / "p", 4, config=config)
    (folder / "m1" / "notes.txt").write_text("not copied")
    (folder / "m1" / "pytorch_model.bin").write_bytes(b"\x80\x02.")
    found = compressed(folder, tmp_path, k=1)
    spectra.reconstruct(found.path, "m1", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "config.json", "model.safetensors", "reconstructed.json",
    ]  # fmt: skip
    assert json.loads((tmp_path / "out" / "config.json").read_text()) == config
    files = folder / "m1" / "model.safetensors", tmp_path / "out"
    old, new = files[0].read_bytes(), (files[1] / files[0].name).read_bytes()
    header = 8 + int.from_bytes(old[:8], "little")
    assert len(old) == len(new)
    assert old[:header] == new[:header]
    with safe_open(files[1] / files[0].name, "np") as file:
        assert file.metadata() == {"format": "pt"}


def test_what_is_lost_is_what_is_told(tmp_path):
    folder = fine_tunes(tmp_path / "p", 6)
    found = compressed(folder, tmp_path, k=2)
    members = [weights(path) for path in sorted(folder.iterdir())]
    made = []
    for i in range(6):
        out = tmp_path / "out" / str(i)
        spectra.reconstruct(found.path, f"m{i}", out)
        made.append(weights(out))
    for layer in found.layers:
        name = f"{layer['name']}.weight"
        twin = naive_compression([tensors[name] for tensors in members], 2)
        for key in ("error", "r2"):
            told = layer[f"{key}_in_sample"]
            # A common start is no part of what is kept: r2 is of deviations.
            expected = twin["error"] if key == "error" else 1 - twin["error"]
            np.testing.assert_allclose(told, expected, rtol=1e-6)
        np.testing.assert_allclose(layer["errors"], twin["errors"], rtol=1e-6)
        np.testing.assert_allclose(
            [tensors[name] for tensors in made], twin["maps"], atol=2e-6
        )
        kept = np.stack([tensors[name] for tensors in made])
        own = np.stack([tensors[name] for tensors in members])
        lost = np.sum((kept - own) ** 2) / np.sum((own - own.mean(0)) ** 2)
        np.testing.assert_allclose(lost, layer["error_in_sample"], rtol=1e-5)


def test_r2_is_of_the_maps_where_members_started_from_zero(tmp_path):
    folder = fine_tunes(tmp_path / "p", 6)
    found = compressed(folder, tmp_path, k=2, base="zero")
    members = [weights(path) for path in sorted(folder.iterdir())]
    for layer in found.layers:
        maps = [tensors[f"{layer['name']}.weight"] for tensors in members]
        np.testing.assert_allclose(
            layer["r2_in_sample"], naive_compression(maps, 2)["r2"], rtol=1e-6
        )


@pytest.mark.parametrize("k", [1, 4, 9])
def test_held_out_numbers_are_the_reports(tmp_path, k):
    """One pair of members is of one lineage: they are held out together."""
    folder = fine_tunes(tmp_path / "p", 8)
    twin = load_file(folder / "m0" / "model.safetensors")
    twin = {name: W + np.float32(1e-3) for name, W in twin.items()}
    write_dense(folder / "m8", twin)
    run = spectra.fit(spectra.scan(folder), base="zero", precision="f64")
    report = spectra.overlap(run, k=[k]).document
    assert report["population"]["n_groups"] == 8
    found = spectra.compress(run, tmp_path / "c", k=k)
    for layer, told in zip(found.layers, report["layers"], strict=True):
        held_out = told["model_axis"]["held_out"]
        captured = held_out["captured"][str(k)]
        if k == 9:
            assert captured is None
            assert layer["error_held_out"] is None
            assert layer["r2_held_out"] is None
            assert "fewer directions" in layer["error_held_out_reason"]
            continue
        np.testing.assert_allclose(
            [layer["error_held_out"], layer["r2_held_out"]],
            [1 - captured, held_out["r2"]["basis"][str(k)]],
            rtol=1e-9,
        )
        evr = told["model_axis"]["evr"][str(k)]
        np.testing.assert_allclose(1 - layer["error_in_sample"], evr)


def test_one_lineage_has_nobody_to_judge_it(tmp_path):
    folder, _, _ = dense(tmp_path, 4, SHAPES, spread=1e-3)
    found = compressed(folder, tmp_path, k=1)
    for layer in found.layers:
        assert layer["error_held_out"] is None
        assert "one lineage group" in layer["error_held_out_reason"]


def test_bytes_are_those_on_the_disk(tmp_path):
    folder = fine_tunes(tmp_path / "p", 6, dtype="BF16")
    found = compressed(folder, tmp_path, k=2).document
    for key, name in (("basis", "basis"), ("coefficient", "coefficients")):
        tensors = load_file(tmp_path / "c" / f"{name}.safetensors")
        nbytes = sum(values.nbytes for values in tensors.values())
        assert found[f"{key}_bytes"] == nbytes
        header = (tmp_path / "c" / f"{name}.safetensors").stat().st_size
        assert header == found["files"][f"{name}.safetensors"]["nbytes"]
    members = [load_file(p / "model.safetensors") for p in folder.iterdir()]
    whole = sum(v.nbytes for tensors in members for v in tensors.values())
    rest = sum(tensors[n].nbytes for tensors in members for n in OTHERS)
    assert found["original_bytes"] == whole
    assert found["untouched_bytes"] == rest == 6 * 2 * (14 + 9)
    assert found["analysed_bytes"] == whole - rest
    assert {m["untouched_bytes"] for m in found["members"]} == {rest // 6}
    assert found["total_bytes"] == sum(
        found[f"{key}_bytes"] for key in ("basis", "coefficient", "untouched")
    )
    assert found["bytes_per_model"] == {
        "now": found["total_bytes"] / 6,
        "limit": (found["coefficient_bytes"] + rest) / 6,
    }
    assert found["base_bytes"] == 0
    expected = naive_break_even(2, SHAPES.values(), [2, 2])
    np.testing.assert_allclose(found["break_even"], expected)
    assert f"saving starts at {expected:.1f} members" in found["text"]


def test_it_saves_from_the_break_even_on_and_not_before(tmp_path):
    for n, saves in ((3, False), (5, True)):
        folder = fine_tunes(tmp_path / f"p{n}", n)
        found = compressed(folder, tmp_path / str(n), k=2).document
        np.testing.assert_allclose(
            found["break_even"], naive_break_even(4, SHAPES.values(), [2, 2])
        )
        kept = found["basis_bytes"] + found["coefficient_bytes"]
        assert (kept < found["analysed_bytes"]) == saves
        assert (n > found["break_even"]) == saves
        assert ("nothing saved" in found["text"]) != saves
        assert "the analysed part alone" in found["text"]


def test_maps_smaller_than_their_coefficients_never_save(tmp_path):
    for i in range(12):
        own = np.random.default_rng(i).standard_normal((2, 4))
        write_dense(tmp_path / "p" / f"m{i}", {"w.weight": own}, "F16")
    found = compressed(tmp_path / "p", tmp_path, k=8).document
    assert found["break_even"] is None
    assert found["break_even_reason"]
    assert "never starts saving" in found["text"]


@pytest.mark.parametrize("energy", [0.3, 0.6, 0.95, 1.0])
def test_energy_chooses_the_fewest_directions_of_each_layer(tmp_path, energy):
    rng = np.random.default_rng(0)
    common = rng.standard_normal((9, 14))
    for i in range(6):
        tensors = {
            "a.weight": 3 * i * common + rng.standard_normal((9, 14)),
            "b.weight": rng.standard_normal((14, 9)),
        }
        write_dense(tmp_path / "p" / f"m{i}", tensors)
    found = compressed(tmp_path / "p", tmp_path, energy=energy)
    members = [weights(p) for p in sorted((tmp_path / "p").iterdir())]
    for layer in found.layers:
        maps = [tensors[f"{layer['name']}.weight"] for tensors in members]
        fewest = 5 if energy == 1 else naive_fewest(maps, energy)
        assert layer["k"] == fewest
        assert layer["reached"] is True
        assert layer["error_in_sample"] <= 1 - energy + 1e-12
    ks = [layer["k"] for layer in found.layers]
    assert energy == 1 or ks[0] < ks[1]
    tensors = load_file(tmp_path / "c" / "basis.safetensors")
    assert [len(tensors[f"{name}.basis"]) for name in ("a", "b")] == ks


def test_all_energy_is_all_directions_whatever_rounding_says(tmp_path):
    folder = fine_tunes(tmp_path / "p", 6)
    run = spectra.fit(spectra.scan(folder))
    rng = np.random.default_rng(0)
    for _ in range(50):
        X = rng.standard_normal((6, 100))
        layer = replace(run.layer("a"), inner=X @ X.T)
        assert Wish(None, 1.0).directions(layer) == 5
        assert Wish(None, 1.0).document(layer) == {"reached": True}


def test_energy_that_the_run_cannot_resolve_is_told(tmp_path):
    rng = np.random.default_rng(0)
    start, far = rng.standard_normal((2, 9, 14))
    for i in range(4):
        own = start + 100 * i * far + 1e-9 * rng.standard_normal((9, 14))
        write_dense(tmp_path / "p" / f"m{i}", {"w.weight": own}, "F64")
    run = spectra.fit(spectra.scan(tmp_path / "p"), precision="f32")
    (layer,) = spectra.compress(run, tmp_path / "c", energy=1.0).layers
    assert layer["k"] < 3
    assert layer["reached"] is False


def test_members_that_lie_transposed(tmp_path):
    rng = np.random.default_rng(0)
    maps = [rng.standard_normal((36, 12)) for _ in range(4)]
    for i, W in enumerate(maps):
        tensors = {"h.0.attn.c_attn.weight": W.T, "h.0.ln.weight": W[0]}
        config = {"model_type": "gpt2"}
        write_dense(tmp_path / "p" / f"m{i}", tensors, config=config)
    found = compressed(tmp_path / "p", tmp_path, k=3)
    for i in range(4):
        out = tmp_path / "out" / str(i)
        spectra.reconstruct(found.path, f"m{i}", out)
        assert_close(weights(out), weights(tmp_path / "p" / f"m{i}"), "F32")


def test_sharded_members(tmp_path):
    folder = fine_tunes(tmp_path / "p", 4)
    for path in folder.iterdir():
        tensors = load_file(path / "model.safetensors")
        (path / "model.safetensors").unlink()
        owners = {}
        for number, part in enumerate((["a.weight"], ["b.weight", *OTHERS])):
            name = f"model-{number + 1:05}-of-00002.safetensors"
            save_file({each: tensors[each] for each in part}, path / name)
            owners |= dict.fromkeys(part, name)
        index = {"metadata": {}, "weight_map": owners}
        (path / "model.safetensors.index.json").write_text(json.dumps(index))
        other = {"weight_map": {"a.weight": "other.safetensors"}}
        index = path / "other.safetensors.index.json"
        index.write_text(json.dumps(other))
    found = compressed(folder, tmp_path, k=3)
    spectra.reconstruct(found.path, "m2", tmp_path / "out")
    assert_close(weights(tmp_path / "out"), weights(folder / "m2"), "F32")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {
        "config.json", "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors", "model.safetensors.index.json",
        "reconstructed.json",
    }  # fmt: skip
    again = spectra.scan(tmp_path / "out").value
    assert (len(again.models), again.quarantine) == (1, ())


@pytest.mark.parametrize("turned", [False, True])
def test_differences_from_a_base(tmp_path, turned):
    shapes = {"h.0.attn.c_attn.weight": (12, 36)} if turned else SHAPES
    folder, _, _ = dense(tmp_path, 5, shapes, spread=1e-3, dtype="BF16")
    base = str(tmp_path / "base")
    found = compressed(folder, tmp_path, k=4, base=base)
    assert {layer["kind"] for layer in found.layers} == {"difference"}
    nbytes = sum(2 * out * into for out, into in shapes.values())
    assert found.document["base_bytes"] == nbytes
    assert "the base is needed" in found.text
    for i in range(5):
        out = tmp_path / "out" / str(i)
        spectra.reconstruct(found.path, f"m{i:02d}", out)
        old = load_file(folder / f"m{i:02d}" / "model.safetensors")
        for name, values in load_file(out / "model.safetensors").items():
            # Small beside the base, so that float32 has digits to spare.
            np.testing.assert_array_equal(values, old[name])
    other = load_file(tmp_path / "base" / "model.safetensors")
    save_file(
        {name: -values for name, values in other.items()},
        tmp_path / "base" / "model.safetensors", metadata={"format": "pt"},
    )  # fmt: skip
    with pytest.raises(IntegrityError, match="not the base that was"):
        spectra.reconstruct(found.path, "m00", tmp_path / "x")
    assert list((tmp_path / "x").iterdir()) == []


def test_parts_of_a_fused_weight_and_a_selection_of_layers(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(4):
        tensors = {
            "h.0.attn.c_attn.weight": rng.standard_normal((12, 36)),
            "h.0.mlp.c_fc.weight": rng.standard_normal((12, 48)),
            "x.in_proj_weight": rng.standard_normal((24, 8)),
        }
        config = {"model_type": "gpt2"}
        write_dense(tmp_path / "p" / f"m{i}", tensors, config=config)
    run = spectra.fit(spectra.scan(tmp_path / "p"), precision="f64")
    parts = [name for name in run.layers if name.startswith("x.")]
    assert len(parts) == 3
    name = parts[1]
    found = spectra.compress(run, tmp_path / "c", k=3, layers=[name])
    (layer,) = found.layers
    own = 4 * 4 * layer["shape"][0] * layer["shape"][1]
    assert found.document["analysed_bytes"] == own
    spectra.reconstruct(found.path, "m1", tmp_path / "out")
    old, new = weights(tmp_path / "p" / "m1"), weights(tmp_path / "out")
    assert_close(new, old, "F32")
    for each in list(old)[:2]:
        np.testing.assert_array_equal(new[each], old[each])


def test_a_copy_of_a_layer_is_kept_once(tmp_path):
    folder = fine_tunes(tmp_path / "p", 4)
    path = folder / "m3" / "model.safetensors"
    first = load_file(folder / "m0" / "model.safetensors")
    mixed = load_file(path) | {"a.weight": first["a.weight"]}
    save_file(mixed, path, metadata={"format": "pt"})
    found = compressed(folder, tmp_path, k=3)
    layer = found.layers[0]
    assert (layer["copies"], layer["rows"]) == ([[3, 0]], [0, 1, 2])
    assert layer["k"] == 2
    spectra.reconstruct(found.path, "m3", tmp_path / "out")
    assert_close(weights(tmp_path / "out"), weights(folder / "m3"), "F32")


def test_numbers_beyond_the_dtype_become_its_largest(tmp_path):
    """The mean and one direction overshoot what each member has."""
    rng = np.random.default_rng(0)
    for i in range(6):
        own = rng.choice([-65504.0, 65504.0], (9, 14))
        write_dense(tmp_path / "p" / f"m{i}", {"w.weight": own}, "F16")
    found = compressed(tmp_path / "p", tmp_path, k=4)
    largest = []
    for i in range(6):
        spectra.reconstruct(found.path, f"m{i}", tmp_path / "o" / str(i))
        made = weights(tmp_path / "o" / str(i))["w.weight"]
        assert np.all(np.isfinite(made))
        largest.append(np.abs(made).max())
    assert max(largest) == 65504.0


def test_adapters(tmp_path):
    shapes = {"q": (24, 16), "v": (9, 16)}
    folder, members = adapters(tmp_path / "p", [4, 2, 3, 4], shapes)
    found = compressed(folder, tmp_path, k=3)
    assert found.document["untouched_bytes"] == 0
    for path in sorted(folder.iterdir()):
        out = tmp_path / "out" / path.name
        made = spectra.reconstruct(found.path, path.name, out)
        for row in made.layers:
            assert row["rank"] == len(members[path.name]["q"][0])
            assert row["rank_error"] < 1e-6
        config = "adapter_config.json"
        assert (out / config).read_bytes() == (path / config).read_bytes()
        new = weights(out)
        for name, (A, B, s) in members[path.name].items():
            key = f"base_model.model.{name}.lora_"
            found_A, found_B = (new[f"{key}{side}.weight"] for side in "AB")
            assert (found_A.shape, found_B.shape) == (A.shape, B.shape)
            np.testing.assert_allclose(
                found_B @ found_A, B @ A, atol=1e-6 * np.abs(B @ A).max()
            )
            assert s


def test_adapters_of_fewer_directions_get_their_own_rank(tmp_path):
    """What k < N - 1 keep has a higher rank: the best of theirs is told."""
    folder, members = adapters(tmp_path / "p", [2] * 5, {"q": (24, 16)})
    found = compressed(folder, tmp_path, k=2)
    factors = [layers["q"] for layers in members.values()]
    twin = naive_compression([s * B @ A for A, B, s in factors], 2)
    made = spectra.reconstruct(found.path, "a01", tmp_path / "out")
    new, s = weights(tmp_path / "out"), members["a01"]["q"][2]
    key = "base_model.model.q.lora_"
    update = s * new[f"{key}B.weight"] @ new[f"{key}A.weight"]
    lengths = (
        np.linalg.norm(new[f"{key}B.weight"], axis=0),
        np.linalg.norm(new[f"{key}A.weight"], axis=1),
    )
    np.testing.assert_allclose(*lengths, rtol=1e-5)
    U, values, Vh = np.linalg.svd(twin["maps"][1])
    best = (U[:, :2] * values[:2]) @ Vh[:2]
    np.testing.assert_allclose(update, best, atol=1e-6 * values[0])
    error = np.linalg.norm(values[2:]) / np.linalg.norm(values)
    np.testing.assert_allclose(made.layers[0]["rank_error"], error, rtol=1e-4)


def test_what_rounding_the_factors_costs_is_told(tmp_path):
    folder, members = adapters(
        tmp_path / "p", [3] * 4, {"q": (24, 16)}, dtype="BF16"
    )
    found = compressed(folder, tmp_path, k=3)
    made = spectra.reconstruct(found.path, "a01", tmp_path / "out")
    (row,), new = made.layers, weights(tmp_path / "out")
    A, B, _ = members["a01"]["q"]
    key = "base_model.model.q.lora_"
    update = new[f"{key}B.weight"] @ new[f"{key}A.weight"]
    error = np.linalg.norm(update - B @ A) / np.linalg.norm(B @ A)
    assert row["rank_error"] < 1e-6 < row["stored_error"] < 2.0**-7
    np.testing.assert_allclose(row["stored_error"], error, rtol=1e-3)


def test_parts_of_an_update_share_their_factor(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(4):
        A, B = rng.standard_normal((2, 8)), rng.standard_normal((24, 2))
        write_adapter(tmp_path / "p" / f"a{i}", {"attn.Wqkv": (A, B)}, 4)
    run = spectra.fit(spectra.scan(tmp_path / "p"), precision="f64")
    found = spectra.compress(run, tmp_path / "c", k=3)
    spectra.reconstruct(found.path, "a2", tmp_path / "out")
    old, new = weights(tmp_path / "p" / "a2"), weights(tmp_path / "out")
    a, b = sorted(old)
    np.testing.assert_allclose(new[b] @ new[a], old[b] @ old[a], atol=1e-5)
    assert len(run.layers) == 3
    part = spectra.compress(run, tmp_path / "d", k=3, layers=[run.layers[0]])
    with pytest.raises(UsageError, match="only a part") as caught:
        spectra.reconstruct(part.path, "a2", tmp_path / "x")
    assert caught.value.code == "E_COMPRESSED"


def test_a_member_that_is_gone_or_changed_is_refused(tmp_path):
    folder = fine_tunes(tmp_path / "p", 4)
    found = compressed(folder, tmp_path, k=2)
    path = folder / "m1" / "model.safetensors"
    tensors = load_file(path)
    changed = tensors | {"a.bias": tensors["a.bias"] + 1}
    save_file(changed, path, metadata={"format": "pt"})
    with pytest.raises(IntegrityError, match="no layers differ"):
        spectra.reconstruct(found.path, "m1", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    save_file(tensors | {"more": tensors["a.bias"]}, path)
    with pytest.raises(IntegrityError, match="headers are others"):
        spectra.reconstruct(found.path, "m1", tmp_path / "out")
    path.write_bytes(b"<html>")
    with pytest.raises(IntegrityError, match="not the member it was"):
        spectra.reconstruct(found.path, "m1", tmp_path / "out")
    (folder / "m1").rename(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="neither a folder nor a file"):
        spectra.reconstruct(found.path, "m1", tmp_path / "out")
    # The analysed layers are not read: their bytes may be anything.
    path = folder / "m2" / "model.safetensors"
    tensors = load_file(path)
    empty = tensors | {"a.weight": 0 * tensors["a.weight"]}
    save_file(empty, path, metadata={"format": "pt"})
    spectra.reconstruct(found.path, "m2", tmp_path / "out")
    assert np.any(weights(tmp_path / "out")["a.weight"])


def test_other_bytes_than_those_fitted_are_not_compressed(tmp_path):
    folder = fine_tunes(tmp_path / "p", 3)
    run = spectra.fit(spectra.scan(folder))
    (folder / "m0").rename(tmp_path / "x")
    (folder / "m1").rename(folder / "m0")
    (tmp_path / "x").rename(folder / "m1")
    with pytest.raises(IntegrityError, match="bytes that were fitted"):
        spectra.compress(run, tmp_path / "c")
    with pytest.raises(UsageError) as caught:
        spectra.reconstruct(tmp_path / "c", "m0", tmp_path / "out")
    assert caught.value.code == "E_COMPRESSED"


@pytest.mark.parametrize(
    "name", ["basis.safetensors", "coefficients.safetensors"]
)
def test_not_a_byte_of_it_can_change(tmp_path, name):
    folder = fine_tunes(tmp_path / "p", 3)
    found = compressed(folder, tmp_path, k=1)
    content = bytearray((found.path / name).read_bytes())
    content[-1] ^= 1
    (found.path / name).write_bytes(content)
    with pytest.raises(IntegrityError, match="not what compress wrote"):
        spectra.reconstruct(found.path, "m0", tmp_path / "out")


@pytest.mark.parametrize(
    ("text", "error"),
    [("{", IntegrityError), ("[]", UsageError),
     ('{"schema": "spectra-compressed/2"}', UsageError)],
)  # fmt: skip
def test_a_document_that_is_none(tmp_path, text, error):
    folder = fine_tunes(tmp_path / "p", 3)
    found = compressed(folder, tmp_path, k=1)
    (found.path / "compressed.json").write_text(text)
    with pytest.raises(error):
        spectra.reconstruct(found.path, "m0", tmp_path / "out")


def altered(found, change):
    """Change the document of a compressed population, hash and all."""
    path = found.path / "compressed.json"
    document = json.loads(path.read_text())
    change(document)
    document["sha256"] = digest_of(document)
    path.write_text(json.dumps(document))


@pytest.mark.parametrize("key", ["start", "nbytes", "shape"])
def test_a_document_leads_to_no_bytes_outside_of_a_tensor(tmp_path, key):
    folder = fine_tunes(tmp_path / "p", 3)
    found = compressed(folder, tmp_path, k=1)

    def change(document):
        part = document["layers"][0]["forms"][0]["parts"][0]
        part[key] = [10**6, 7] if key == "shape" else part[key] + 400

    altered(found, change)
    with pytest.raises(IntegrityError, match="keep its layers"):
        spectra.reconstruct(found.path, "m0", tmp_path / "out")


def test_a_factor_of_another_rank_is_refused(tmp_path):
    folder, _ = adapters(tmp_path / "p", [2] * 3, {"q": (14, 11)})
    found = compressed(folder, tmp_path, k=1)
    for shape in ([10**6, 11], [22]):

        def change(document, shape=shape):
            (form,) = document["layers"][0]["forms"]
            form["parts"][0]["shape"] = shape

        altered(found, change)
        with pytest.raises(IntegrityError, match="keep its layers"):
            spectra.reconstruct(found.path, "a00", tmp_path / "out")


def test_the_document_is_held_to_its_hash(tmp_path):
    folder, _ = adapters(tmp_path / "p", [2] * 3, {"q": (14, 11)})
    found = compressed(folder, tmp_path, k=1)
    path = found.path / "compressed.json"
    text = path.read_text()
    for old, new in ((r'"scale": \d', '"scale": 7'), ('"members"', '"m"')):
        other = re.sub(old, new, text)
        assert other != text
        path.write_text(other)
        with pytest.raises(IntegrityError, match="not what compress wrote"):
            spectra.reconstruct(found.path, "a00", tmp_path / "out")


def test_another_configuration_is_another_member(tmp_path):
    folder, _ = adapters(tmp_path / "p", [2] * 3, {"q": (14, 11)})
    found = compressed(folder, tmp_path, k=1)
    path = folder / "a00" / "adapter_config.json"
    config = json.loads(path.read_text())
    config["lora_alpha"] *= 2
    path.write_text(json.dumps(config))
    with pytest.raises(IntegrityError, match="configuration is another"):
        spectra.reconstruct(found.path, "a00", tmp_path / "out")


def test_no_member_is_written_over(tmp_path):
    """A population of reconstructions: each has the mark of a result."""
    folder = fine_tunes(tmp_path / "p", 3)
    first = compressed(folder, tmp_path, k=2)
    for name in ("m0", "m1", "m2"):
        spectra.reconstruct(first.path, name, tmp_path / "again" / name)
    run = spectra.fit(spectra.scan(tmp_path / "again"))
    second = spectra.compress(run, tmp_path / "c2", k=1)
    place = tmp_path / "again" / "m1"
    before = (place / "model.safetensors").read_bytes()
    with pytest.raises(UsageError, match="one of the files to read"):
        spectra.reconstruct(second.path, "m1", place)
    assert (place / "model.safetensors").read_bytes() == before


def test_a_file_of_two_names_has_that_by_which_it_is_looked_for(tmp_path):
    folder, _ = adapters(tmp_path / "p", [2] * 3, {"q": (14, 11)})
    own = folder / "a00" / "adapter_model.safetensors"
    own.rename(own.with_name("weights.safetensors"))
    own.symlink_to("weights.safetensors")
    found = compressed(folder, tmp_path, k=2)
    spectra.reconstruct(found.path, "a00", tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").glob("*.safetensors")}
    assert names == {own.name}


def test_a_base_that_is_read_whole_is_counted(tmp_path, monkeypatch):
    folder = fine_tunes(tmp_path / "p", 3)
    fine_tunes(tmp_path / "b", 1)
    run = spectra.fit(spectra.scan(folder), base=tmp_path / "b" / "m0")
    found = spectra.compress(run, tmp_path / "c", k=1)
    asked = []
    monkeypatch.setattr(
        Workshop, "_require", lambda self, layer, nbytes: asked.append(nbytes)
    )
    spectra.reconstruct(found.path, "m1", tmp_path / "out")
    size = 9 * 14
    assert asked == [4 * size + 40 * size] * 2


def test_members_that_do_not_differ_need_no_direction(tmp_path):
    """Of one update in other gauges, which no bytes show to be copies."""
    rng = np.random.default_rng(0)
    A, B = rng.standard_normal((2, 11)), rng.standard_normal((14, 2))
    for i in range(3):
        write_adapter(tmp_path / "p" / f"a{i}",
                      {"q": (A * 2.0**i, B / 2.0**i)}, alpha=2)  # fmt: skip
    found = compressed(tmp_path / "p", tmp_path, k=1)
    assert found.layers[0]["k"] == 0
    made = spectra.reconstruct(found.path, "a1", tmp_path / "out")
    assert made.layers[0]["stored_error"] < 1e-6


def test_members_are_known_by_id_or_its_last_part(tmp_path):
    folder = fine_tunes(tmp_path / "p" / "x", 2)
    fine_tunes(tmp_path / "p" / "y", 2, seed=1)
    (folder.parent / "y" / "m1").rename(folder.parent / "y" / "m7")
    run = spectra.fit(spectra.scan(tmp_path / "p"))
    found = spectra.compress(run, tmp_path / "c")
    made = spectra.reconstruct(found.path, "m7", tmp_path / "out")
    assert made.document["model"].endswith("m7")
    whole = next(m.id for m in run.models if m.id.endswith("x/m0"))
    made = spectra.reconstruct(found.path, whole, tmp_path / "out")
    assert made.document["model"] == whole
    for name, count in (("m0", 2), ("m9", 0)):
        with pytest.raises(UsageError, match=f"names {count} of") as caught:
            spectra.reconstruct(found.path, name, tmp_path / "x")
        assert caught.value.code == "E_MODEL"


def test_hostile_ids_lead_to_no_other_folder(tmp_path):
    """An id is looked up and shown; where to write is `out` alone."""
    folder = fine_tunes(tmp_path / "p", 3)
    found = compressed(folder, tmp_path, k=1)
    hostile = "../../escaped/\x1b[31m"
    altered(found, lambda document: document["members"][0].update(id=hostile))
    before = set(tmp_path.rglob("*"))
    out = tmp_path / "out"
    made = spectra.reconstruct(found.path, hostile, out)
    new = set(tmp_path.rglob("*")) - before
    assert new == {out, *out.iterdir()}
    for text in (made.text, repr(made), made._repr_html_()):
        assert "\x1b" not in text


def test_a_folder_that_holds_something_else_is_refused(tmp_path):
    folder = fine_tunes(tmp_path / "p", 3)
    run = spectra.fit(spectra.scan(folder))
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    for _ in range(2):
        found = spectra.compress(run, tmp_path / "c", k=1)
    for _ in range(2):
        spectra.reconstruct(found.path, "m0", tmp_path / "out")
    spectra.reconstruct(found.path, "m0", tmp_path / "more")
    (tmp_path / "more" / "mine.txt").write_text("mine")
    places = (
        tmp_path / "file", tmp_path / "full", tmp_path / "more", folder / "m0",
    )  # fmt: skip
    for place in (*places, tmp_path / "out"):
        with pytest.raises(UsageError) as caught:
            spectra.compress(run, place, k=1)
        assert caught.value.code == "E_OUTPUT"
    for place in (*places, found.path):
        with pytest.raises(UsageError) as caught:
            spectra.reconstruct(found.path, "m0", place)
        assert caught.value.code == "E_OUTPUT"


@pytest.mark.parametrize(
    ("wish", "code"),
    [({"k": 0}, "E_LEVEL"), ({"energy": 0}, "E_ENERGY"),
     ({"energy": 1.5}, "E_ENERGY"), ({"energy": float("nan")}, "E_ENERGY"),
     ({"k": 2, "energy": 0.5}, "E_ENERGY"),
     ({"layers": ["z"]}, "E_NOTHING_TO_COMPARE")],
)  # fmt: skip
def test_what_cannot_be_kept(tmp_path, wish, code):
    folder = fine_tunes(tmp_path / "p", 3)
    run = spectra.fit(spectra.scan(folder))
    with pytest.raises(UsageError) as caught:
        spectra.compress(run, tmp_path / "c", **wish)
    assert caught.value.code == code
    assert not (tmp_path / "c").exists()


def test_memory_is_asked_for_before_it_is_taken(tmp_path):
    folder = fine_tunes(tmp_path / "p", 3)
    run = spectra.fit(spectra.scan(folder))
    with pytest.raises(BudgetError):
        spectra.compress(run, tmp_path / "c", memory="1MiB")
    found = spectra.compress(run, tmp_path / "c", memory="4GiB")
    with pytest.raises(BudgetError):
        spectra.reconstruct(found.path, "m0", tmp_path / "out", memory=2**20)
    assert list((tmp_path / "out").iterdir()) == []


def test_every_key_is_explained(tmp_path):
    folder, _ = adapters(tmp_path / "p", [2] * 4, {"q": (24, 16)})
    found = compressed(folder, tmp_path, energy=0.5)
    made = spectra.reconstruct(found.path, "a01", tmp_path / "out")
    page = Path(spectra.__file__).parents[1] / "docs" / "compress.md"
    explained = set(re.findall(r"`(\w+)`", page.read_text("utf-8")))
    tables = [found.document, *found.layers, *found.document["members"]]
    tables += [*made.layers, found.document["bytes_per_model"]]
    keys = {key for table in tables for key in table}
    assert {k for k in keys if not k.endswith("_reason")} - explained == set()


def test_files_beside_one_another_are_members_too(tmp_path):
    for i in range(4):
        own = np.random.default_rng(i).standard_normal((9, 14))
        write_dense(tmp_path / f"x{i}", {"w.weight": own})
        path = tmp_path / "p" / f"net{i}.safetensors"
        path.parent.mkdir(exist_ok=True)
        (tmp_path / f"x{i}" / "model.safetensors").rename(path)
    found = compressed(tmp_path / "p", tmp_path, k=3)
    spectra.reconstruct(found.path, "net2", tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"net2.safetensors", "reconstructed.json"}
    old = load_file(tmp_path / "p" / "net2.safetensors")
    assert_close(weights(tmp_path / "out"), old, "F32")


def test_nothing_is_left_out_in_silence(tmp_path, monkeypatch):
    def broken(*arguments, **named):
        raise Quarantine("NO_CONVERGENCE", "of nothing")

    folder = fine_tunes(tmp_path / "p", 3)
    run = spectra.fit(spectra.scan(folder))
    found = spectra.compress(run, tmp_path / "c", k=1)
    monkeypatch.setattr(Original, "read", broken)
    with pytest.raises(IntegrityError, match="NO_CONVERGENCE"):
        spectra.compress(run, tmp_path / "d", k=1)
    with pytest.raises(IntegrityError, match="NO_CONVERGENCE"):
        spectra.reconstruct(found.path, "m0", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
