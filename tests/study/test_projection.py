"""A checkpoint beside a run, against NumPy on stacked vectors."""

import os
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from safetensors.numpy import load_file

import spectra
from spectra.core.errors import BudgetError, IntegrityError, UsageError
from spectra.weights.stream import TensorReader
from tests.checkpoints import (
    adapters,
    dense,
    stored,
    write_adapter,
    write_dense,
)
from tests.reference.projection import (
    naive_members,
    naive_projection,
    naive_sides,
)
from tests.test_docs import (
    first_cells,
    keys_of,
    text_of,
    words_in_code_type,
)

SHAPES = {"a.weight": (30, 40), "b.weight": (40, 30)}
LEVELS = (1, 2, 4, 16)
SHARES = ("captured", "captured_random", "captured_secondary")


def products(layers):
    return {name: s * B @ A for name, (A, B, s) in layers.items()}


def population(kind, folder, n=9, dtype="F32"):
    """Write n members and one more; return their maps and the base."""
    if kind == "adapters":
        shapes = {"a": (24, 16), "b": (9, 16)}
        ranks = ([2, 4, 3] * n)[: n + 1]
        where, members = adapters(folder / "all", ranks, shapes, dtype=dtype)
        maps = {name: products(layers) for name, layers in members.items()}
        base = None
    else:
        spread = 0.1 if kind == "difference" else None
        where, members, start = dense(
            folder, n + 1, SHAPES, spread=spread, dtype=dtype
        )
        origin = start if kind == "difference" else dict.fromkeys(start, 0.0)
        maps = {
            name: {
                key.removesuffix(".weight"): W - origin[key]
                for key, W in tensors.items()
            }
            for name, tensors in members.items()
        }
        base = {"difference": str(folder / "base"), "zero": "zero"}.get(kind)
    *_, last = sorted(maps)
    new = folder / "new" / last
    new.parent.mkdir()
    (where / last).rename(new)
    return where, new, maps, maps.pop(last), base


def assert_is(found, expected, *, atol=1e-7, rtol=1e-7):
    """Compare values by level; None is NaN, and has a reason."""
    for k in LEVELS:
        value = found[str(k)]
        np.testing.assert_allclose(
            np.nan if value is None else value,
            expected[k], rtol=rtol, atol=atol,
        )  # fmt: skip


def assert_layer(layer, maps, x, ids, *, learned, **close):
    expected = naive_projection(maps, x, LEVELS)
    for key in SHARES:
        assert_is(layer[key], expected[key], **close)
        lacks = None in layer[key].values()
        assert lacks == (f"{key}_reason" in layer)
    np.testing.assert_allclose(layer["norm"], expected["norm"])
    np.testing.assert_allclose(layer["deviation"], expected["deviation"])
    if learned:
        np.testing.assert_allclose(
            layer["r2_mean"], expected["r2_mean"], atol=1e-7
        )
    else:
        assert layer["r2_mean"] == 0
        assert "common start" in layer["r2_mean_reason"]
    order = np.argsort(-expected["cosines"])[:5]
    assert [near["id"] for near in layer["nearest"]] == [ids[i] for i in order]
    for key, name in (("cosine", "cosines"), ("cosine_whole", "plain")):
        np.testing.assert_allclose(
            [near[key] for near in layer["nearest"]],
            expected[name][order],
            atol=1e-7,
        )


@pytest.mark.parametrize("dtype", ["F32", "BF16", "F64"])
@pytest.mark.parametrize("kind", ["adapters", "dense", "zero", "difference"])
def test_every_number_is_that_of_the_stacked_vectors(tmp_path, kind, dtype):
    folder, new, maps, x, base = population(kind, tmp_path, dtype=dtype)
    run = spectra.fit(
        spectra.scan(folder), base=base, precision="f64", rank=64,
        save_directions=True,
    )  # fmt: skip
    found = spectra.project(run, new, k=[2])
    assert found.document["schema"] == "spectra-projection/1"
    ids = sorted(maps)
    assert [layer["name"] for layer in found.layers] == ["a", "b"]
    for layer in found.layers:
        name = layer["name"]
        own = [maps[i][name] for i in ids]
        assert_layer(layer, own, x[name], ids, learned=kind != "dense")
        members = naive_members(own, LEVELS)
        mine = naive_projection(own, x[name], LEVELS)["captured"]
        for j, k in enumerate(LEVELS):
            row = layer["members"]["captured"][str(k)]
            if np.isnan(members[:, j]).any():
                assert row is None
                assert layer["members"]["place"][str(k)] is None
                continue
            np.testing.assert_allclose(
                [row["least"], row["median"], row["most"]],
                np.quantile(members[:, j], [0, 0.5, 1]),
                rtol=1e-7,
            )
            place = np.mean(members[:, j] <= mine[k])
            assert layer["members"]["place"][str(k)] == place
        sides = naive_sides(own, x[name], LEVELS)
        for side, expected in sides.items():
            d = x[name].shape[side == "input"]
            entry = layer[f"{side}_side"]
            assert_is(entry["captured"], expected, rtol=1e-5, atol=1e-5)
            assert entry["chance"]["4"] == pytest.approx(4 / d)
            C = sum(W @ W.T if side == "output" else W.T @ W for W in own)
            share = np.linalg.eigvalsh(C)[-4:].sum() / np.trace(C)
            assert entry["members"]["4"] == pytest.approx(share)


def test_the_whole_is_ratios_of_sums(tmp_path):
    folder, new, maps, x, _ = population("adapters", tmp_path)
    run = spectra.fit(spectra.scan(folder), precision="f64")
    whole = spectra.project(run, new).document["whole"]
    energy = held = norm = 0.0
    for name in ("a", "b"):
        own = [maps[i][name] for i in sorted(maps)]
        one = naive_projection(own, x[name], [4])
        energy += one["deviation"] ** 2
        norm += one["norm"] ** 2
        held += one["captured"][4] * one["deviation"] ** 2
    assert whole["captured"]["4"] == pytest.approx(held / energy)
    assert whole["r2_mean"] == pytest.approx(1 - energy / norm)
    assert whole["members"]["n_groups"] == 9
    ids, alone = sorted(maps), []
    for left_out in ids:
        energy = held = 0.0
        for name in ("a", "b"):
            others = [maps[i][name] for i in ids if i != left_out]
            one = naive_projection(others, maps[left_out][name], [4])
            energy += one["deviation"] ** 2
            held += one["captured"][4] * one["deviation"] ** 2
        alone.append(held / energy)
    row = whole["members"]["captured"]["4"]
    np.testing.assert_allclose(
        [row["least"], row["median"], row["most"]],
        np.quantile(alone, [0, 0.5, 1]),
    )
    place = np.mean(np.array(alone) <= whole["captured"]["4"])
    assert whole["members"]["place"]["4"] == place


@pytest.mark.parametrize("kind", ["adapters", "dense"])
def test_members_may_stand_in_an_order_of_their_own(tmp_path, kind):
    """A catalogue has m2 before m10, statistics after it."""
    folder, new, maps, x, _ = population(kind, tmp_path, n=12)
    names = {name: f"m{i}" for i, name in enumerate(sorted(maps))}
    for old, name in names.items():
        (folder / old).rename(tmp_path / f"x{name}")
    for name in names.values():
        (tmp_path / f"x{name}").rename(folder / name)
    run = spectra.fit(spectra.scan(folder))
    assert [m.id for m in run.models] == [f"m{i}" for i in range(12)]
    for layer in spectra.project(run, new, k=[2]).layers:
        name = layer["name"]
        own = [maps[i][name] for i in names]
        learned = kind == "adapters"
        assert_layer(
            layer, own, x[name], list(names.values()), learned=learned
        )
    document = spectra.project(run, folder / "m10").document
    assert document["copies"] == ["m10"]
    assert document["nearest"][0]["id"] == "m10"


def test_of_the_concatenated_layers_the_nearest_is_named(tmp_path):
    folder, new, maps, x, _ = population("adapters", tmp_path)
    run = spectra.fit(spectra.scan(folder))
    (first, *_) = spectra.project(run, new).document["nearest"]
    y = np.concatenate([x[name].ravel() for name in ("a", "b")])
    cosines = {}
    for member, layers in maps.items():
        z = np.concatenate([layers[name].ravel() for name in ("a", "b")])
        cosines[member] = y @ z / np.linalg.norm(y) / np.linalg.norm(z)
    assert first["id"] == max(cosines, key=cosines.__getitem__)
    assert first["cosine"] == pytest.approx(max(cosines.values()))


def test_a_large_common_part_does_not_eat_the_digits(tmp_path):
    """Whole weights that differ by 1e-5 of their norm, and no base."""
    rng = np.random.default_rng(0)
    start, X = rng.standard_normal((30, 40)), {}
    for i in range(8):
        W = start + 1e-5 * rng.standard_normal((30, 40))
        folder = tmp_path / ("new" if i == 7 else "p") / f"m{i}"
        write_dense(folder, {"w.weight": W}, "F64")
        X[f"m{i}"] = W
    run = spectra.fit(spectra.scan(tmp_path / "p"), precision="f64")
    (layer,) = spectra.project(run, tmp_path / "new" / "m7", k=[2]).layers
    new = X.pop("m7")
    expected = naive_projection(X.values(), new, LEVELS)
    for key in SHARES:
        assert_is(layer[key], expected[key], rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", ["adapters", "dense"])
def test_many_members_in_float32(tmp_path, kind):
    """From 65 on the run's own products are float32: 7e-9 of the largest."""
    folder, new, maps, x, _ = population(kind, tmp_path, n=70)
    run = spectra.fit(spectra.scan(folder))
    for layer in spectra.project(run, new, k=[2]).layers:
        own = [maps[i][layer["name"]] for i in sorted(maps)]
        expected = naive_projection(own, x[layer["name"]], LEVELS)
        for key in SHARES:
            assert_is(layer[key], expected[key], rtol=1e-5, atol=1e-6)


def test_a_newcomer_may_be_stored_the_other_way_round(tmp_path):
    rng = np.random.default_rng(0)
    X = [stored(rng.standard_normal((36, 12)), "F32") for _ in range(6)]
    for i, W in enumerate(X):
        gpt2 = {"h.0.attn.c_attn.weight": W.T}
        torch = {"h.0.attn.c_attn.weight": W}
        write_dense(
            tmp_path / ("new" if i == 5 else "p") / f"m{i}",
            torch if i == 5 else gpt2,
            config={} if i == 5 else {"model_type": "gpt2"},
        )
    run = spectra.fit(spectra.scan(tmp_path / "p"), save_directions=True)
    known = run.value.layers[0]
    assert known.shape in {(36, 12), (12, 36)}
    (layer,) = spectra.project(run, tmp_path / "p" / "m0", k=[2]).layers
    own = X[:5] if known.shape == (36, 12) else [W.T for W in X[:5]]
    expected = naive_projection(own, own[0], LEVELS)
    for key in SHARES:
        assert_is(layer[key], expected[key])


def test_a_member_is_told_to_be_in_sample(tmp_path):
    folder, _, maps, _, _ = population("adapters", tmp_path)
    run = spectra.fit(spectra.scan(folder), precision="f64")
    found = spectra.project(run, folder / "a03", k=[8])
    document = found.document
    assert document["word"] == "member"
    assert document["member"] == "a03"
    assert document["copies"] == ["a03"]
    assert found.text.startswith("a03 is a checkpoint of the run")
    for layer in found.layers:
        assert layer["copies"] == ["a03"]
        assert layer["captured"]["8"] == pytest.approx(1)
        assert layer["nearest"][0]["id"] == "a03"
        assert layer["nearest"][0]["cosine"] == pytest.approx(1)
        assert set(layer["members"]["place"].values()) == {None}
        assert "helped to make" in layer["members"]["place_reason"]
    assert set(document["whole"]["members"]["place"].values()) == {None}
    assert maps["a03"]


@pytest.mark.parametrize("k", [[], [2]])
def test_a_member_of_those_that_share_directions(tmp_path, k):
    """It has no place among the others, whatever these have in common."""
    rng = np.random.default_rng(4)
    common = rng.standard_normal((2, 20, 16))
    for i in range(8):
        shared = np.tensordot(rng.standard_normal(2), common, 1)
        write_dense(
            tmp_path / f"m{i}",
            {"a": shared + 0.05 * rng.standard_normal((20, 16))},
        )
    run = spectra.fit(spectra.scan(tmp_path))
    document = spectra.project(run, tmp_path / "m3", k=k).document
    assert document["word"] == "member"
    assert "helped to make what it is held against: " in document["text"]


def test_a_copy_elsewhere_is_a_copy(tmp_path):
    folder, _, _, _, _ = population("dense", tmp_path)
    shutil.copytree(folder / "m04", tmp_path / "elsewhere")
    run = spectra.fit(spectra.scan(folder))
    document = spectra.project(run, tmp_path / "elsewhere").document
    assert document["word"] == "copy"
    assert document["member"] is None
    assert document["copies"] == ["m04"]
    assert "is a copy of m04 in every layer" in document["text"]


def test_one_layer_of_a_member_makes_no_copy(tmp_path):
    folder, new, maps, x, _ = population("zero", tmp_path)
    shutil.rmtree(new)
    tensors = {"a.weight": maps["m02"]["a"], "b.weight": x["b"]}
    write_dense(new, tensors)
    run = spectra.fit(spectra.scan(folder), base="zero")
    document = spectra.project(run, new).document
    a, b = document["layers"]
    assert (a["copies"], b["copies"]) == (["m02"], [])
    assert document["copies"] == []
    assert document["word"] == "part-copy"
    assert "has 1 layer bit by bit from members" in document["text"]
    assert a["members"]["place"]["4"] is None
    assert b["members"]["place"]["4"] is not None
    assert document["whole"]["members"]["place"]["4"] is not None


def test_each_layer_of_another_member_is_no_copy_of_any(tmp_path):
    rng, names = np.random.default_rng(0), [f"l{i}.weight" for i in range(6)]
    maps = [
        {name: rng.standard_normal((20, 24)) for name in names}
        for _ in range(8)
    ]
    for i, tensors in enumerate(maps):
        write_dense(tmp_path / "p" / f"m{i}", tensors)
    layers = {name: maps[i][name] for i, name in enumerate(names)}
    write_dense(tmp_path / "new", layers)
    run = spectra.fit(spectra.scan(tmp_path / "p"), base="zero")
    document = spectra.project(run, tmp_path / "new").document
    assert (document["copies"], document["related"]) == ([], [])
    assert document["word"] == "part-copy"
    assert "has 6 layers bit by bit from members" in document["text"]
    assert document["whole"]["members"]["place"]["1"] is None


def planted(folder, n, rng, plane, share):
    """Write maps of which `share` lies in the plane; return them."""
    maps = []
    for i in range(n):
        noise = rng.standard_normal(1280)
        noise -= plane.T @ (plane @ noise)
        along = plane.T @ rng.standard_normal(2)
        x = np.sqrt(share) * along / np.linalg.norm(along)
        x += np.sqrt(1 - share) * noise / np.linalg.norm(noise)
        write_dense(folder / f"m{i:02d}", {"w.weight": x.reshape(32, 40)})
        maps.append(x)
    return maps


def test_a_planted_plane_is_captured_and_a_random_model_is_not(tmp_path):
    """Of 24 members' energy one half lies in the plane."""
    rng = np.random.default_rng(5)
    plane = np.linalg.qr(rng.standard_normal((1280, 2)))[0].T
    mean = np.mean(planted(tmp_path / "p", 24, rng, plane, 0.5), axis=0)
    run = spectra.fit(spectra.scan(tmp_path / "p"), base="zero")
    found = {}
    for name, share in (("like", 0.5), ("less", 0.1), ("other", 0.0)):
        (x,) = planted(tmp_path / name, 1, rng, plane, share)
        found[name] = spectra.project(run, tmp_path / name / "m00", k=[2])
        (layer,) = found[name].layers
        in_plane = np.sum((plane @ (x - mean)) ** 2)
        mine = in_plane / np.sum((x - mean) ** 2)
        # A direction of the members has 24 / 4 of the plane, 1 / 2 of noise.
        assert layer["captured"]["2"] == pytest.approx(
            mine * 6 / 6.5, abs=0.02
        )
        assert layer["captured_secondary"]["2"] < 0.01
    words = {name: one.document["word"] for name, one in found.items()}
    assert words == {
        "like": "typical",
        "less": "unusual",
        "other": "not-better-than-random",
    }
    assert "less than 2.0 % more" in found["other"].text
    assert "more), unlike the members: " in found["other"].text
    held = found["like"].layers[0]["captured"]["2"]
    assert held > 0.3
    assert found["like"].layers[0]["captured_random"]["2"] < held / 8


def test_what_members_lack_is_said_of_them_too(tmp_path):
    folder, new, *_ = population("zero", tmp_path)
    run = spectra.fit(spectra.scan(folder), base="zero")
    found = spectra.project(run, new)
    assert found.document["word"] == "not-better-than-random"
    assert "as most members do in each other's" in found.text


def test_a_fine_tune_of_a_member_is_of_its_lineage(tmp_path):
    """Though a half of it is new: updates are alike from 0.5."""
    folder, *_ = population("adapters", tmp_path)
    tensors = load_file(folder / "a02" / "adapter_model.safetensors")
    rng, moved = np.random.default_rng(0), {}
    for name in ("a", "b"):
        A, B = (
            tensors[f"base_model.model.{name}.lora_{side}.weight"]
            for side in "AB"
        )
        moved[name] = A, B + B.std() * rng.standard_normal(B.shape)
    write_adapter(tmp_path / "tuned", moved, 16)
    run = spectra.fit(spectra.scan(folder))
    document = spectra.project(run, tmp_path / "tuned").document
    assert document["word"] == "related"
    assert [one["id"] for one in document["related"]] == ["a02"]
    assert document["related"][0]["cosine"] == pytest.approx(0.7, abs=0.1)
    assert "same lineage as a02 (cosine" in document["text"]


def test_few_groups_say_nothing(tmp_path):
    folder, new, *_ = population("adapters", tmp_path, n=3)
    run = spectra.fit(spectra.scan(folder))
    document = spectra.project(run, new).document
    assert document["word"] == "too-few-members"
    assert document["k"] is None
    assert document["layers"][0]["members"]["n_groups"] == 3


def test_one_group_judges_nobody(tmp_path):
    """Fine-tunes of one base, compared whole, are one lineage."""
    members, _, _ = dense(tmp_path, 6, SHAPES, spread=0.2)
    (members / "m05").rename(tmp_path / "new")
    run = spectra.fit(spectra.scan(members))
    document = spectra.project(run, tmp_path / "new").document
    assert document["word"] == "related"
    assert document["layers"][0]["members"] is None
    assert "one lineage group" in document["layers"][0]["members_reason"]
    assert document["whole"]["members"] is None
    assert document["whole"]["r2_mean"] is None
    assert " and 4 more" in document["text"]


def test_the_mean_itself_has_no_direction(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.integers(-8, 8, (4, 12, 10)).astype(float)
    for i, W in enumerate(X):
        write_dense(tmp_path / "p" / f"m{i}", {"w.weight": W}, "F64")
    write_dense(tmp_path / "mean", {"w.weight": X.mean(axis=0)}, "F64")
    run = spectra.fit(spectra.scan(tmp_path / "p"), base="zero")
    found = spectra.project(run, tmp_path / "mean")
    (layer,) = found.layers
    assert set(layer["captured"].values()) == {None}
    assert "mean" in layer["captured_reason"]
    assert layer["nearest"] == []
    assert layer["nearest_reason"] == layer["captured_reason"]
    assert layer["r2_mean"] == pytest.approx(1)
    assert set(found.document["whole"]["captured"].values()) == {None}
    assert found.document["word"] == "at-mean"
    places = found.document["whole"]["members"]
    assert places["place_reason"] == layer["captured_reason"]
    assert found.text == (
        "mean does not differ from the members' mean by more than rounding"
    )
    found.to_json()


def test_a_rounded_mean_is_the_mean_too(tmp_path):
    """Stored as the members are, it lies no nearer."""
    X = np.random.default_rng(0).standard_normal((4, 12, 10))
    for i, W in enumerate(X):
        write_dense(tmp_path / "q" / f"m{i}", {"w.weight": W}, "BF16")
    X = stored(X, "BF16")
    write_dense(tmp_path / "new", {"w.weight": X.mean(axis=0)}, "BF16")
    rounded = spectra.fit(spectra.scan(tmp_path / "q"), base="zero")
    found = spectra.project(rounded, tmp_path / "new")
    assert found.layers[0]["deviation"] > 0
    assert found.document["word"] == "at-mean"


def test_of_a_zero_nothing_is_a_share(tmp_path):
    folder, *_ = population("zero", tmp_path)
    nothing = {name: np.zeros(shape) for name, shape in SHAPES.items()}
    write_dense(tmp_path / "zero", nothing)
    run = spectra.fit(spectra.scan(folder), base="zero")
    document = spectra.project(run, tmp_path / "zero").document
    for row in (document["whole"], *document["layers"]):
        assert row["r2_mean"] is None
        assert row["r2_mean_reason"] == "it is zero"
    (first, *_) = document["layers"][0]["nearest"]
    assert first["cosine_whole"] is None
    assert first["cosine_whole_reason"] == "it is zero"
    assert document["nearest"] == []


def test_members_need_not_have_every_layer(tmp_path):
    rng = np.random.default_rng(0)
    X = {
        f"m{i}": {
            name: stored(rng.standard_normal(shape), "F32")
            for name, shape in SHAPES.items()
            if i < 5 or name == "a.weight"
        }
        for i in range(8)
    }
    near = X["m6"]["a.weight"] + 0.5 * rng.standard_normal((30, 40))
    x = {"a.weight": near, "b.weight": 9 * rng.standard_normal((40, 30))}
    for name, tensors in X.items():
        write_dense(tmp_path / "p" / name, tensors)
    write_dense(tmp_path / "new", x)
    run = spectra.fit(spectra.scan(tmp_path / "p"), base="zero")
    document = spectra.project(run, tmp_path / "new").document
    a, b = document["layers"]
    assert (a["n_models"], b["n_models"]) == (8, 5)
    (first, *_) = document["nearest"]
    assert first["id"] == "m6"
    y, z = near.ravel(), X["m6"]["a.weight"].ravel()
    cosine = y @ z / np.linalg.norm(y) / np.linalg.norm(z)
    assert first["cosine"] == pytest.approx(cosine)


@pytest.mark.parametrize("kind", ["adapters", "dense", "difference"])
def test_neither_order_nor_workers_nor_the_disk_change_a_bit(
    tmp_path, kind, monkeypatch
):
    folder, new, _, _, base = population(kind, tmp_path)
    names = sorted(folder.iterdir())
    run = spectra.fit(spectra.scan(*names), tmp_path / "1.h5", base=base)
    other = spectra.fit(
        spectra.scan(*names[::-1]), tmp_path / "2.h5", base=base
    )
    found = [
        spectra.project(each, new, workers=workers).to_json()
        for each in (run, spectra.load(tmp_path / "2.h5"), other)
        for workers in (1, 2, 0)
    ]
    assert len(set(found)) == 1
    spilled = []
    real = spectra.subspaces.newcomer.keeping

    def watched(nbytes, /, *, folder):
        spilled.append(folder)
        return real(nbytes, folder=folder)

    monkeypatch.setenv("SPECTRA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("spectra.subspaces.newcomer.keeping", watched)
    monkeypatch.setattr(
        "spectra.study.projection.meeting_cost", scarce := Scarce()
    )
    monkeypatch.setattr("spectra.subspaces.newcomer.meeting_cost", scarce)
    assert spectra.project(run, new).to_json() == found[0]
    if kind != "adapters":
        assert len(spilled) == 2
        assert None not in spilled


class Scarce:
    """As if the members of a layer never fitted into memory."""

    def __init__(self):
        self.real = spectra.subspaces.newcomer.meeting_cost

    def __call__(self, task, room=None, /):
        return self.real(task, 0)


@pytest.mark.parametrize("kind", ["adapters", "dense", "difference"])
def test_everything_is_read_once(tmp_path, kind, monkeypatch):
    folder, new, _, _, base = population(kind, tmp_path)
    run = spectra.fit(spectra.scan(folder), base=base)
    reads = []
    real = TensorReader.read

    def counted(self, ref, start, stop, /):
        reads.append((ref, start, stop))
        return real(self, ref, start, stop)

    monkeypatch.setattr(TensorReader, "read", counted)
    spectra.project(run, new)
    tensors = 2 if kind == "adapters" else 1
    bases = 1 if base else 0
    assert len(reads) == 2 * (tensors * 10 + bases)
    assert len(set(reads)) == len(reads)
    assert all(stop - start == ref.size for ref, start, stop in reads)


def test_too_little_memory_is_said_before_anything_is_read(
    tmp_path, monkeypatch
):
    folder, new, *_ = population("dense", tmp_path)
    run = spectra.fit(spectra.scan(folder))
    monkeypatch.setattr(TensorReader, "read", None)
    with pytest.raises(BudgetError):
        spectra.project(run, new, memory="1MiB")


@pytest.mark.parametrize("kind", ["adapters", "dense", "difference"])
def test_members_that_changed_places_are_refused(tmp_path, kind):
    folder, new, _, _, base = population(kind, tmp_path)
    run = spectra.fit(spectra.scan(folder), base=base)
    one, two = sorted(folder.iterdir())[:4:3]
    one.rename(tmp_path / "x")
    two.rename(one)
    (tmp_path / "x").rename(two)
    with pytest.raises(IntegrityError, match="bytes that were fitted"):
        spectra.project(run, new)


def test_another_member_or_base_is_refused(tmp_path):
    folder, new, _, _, base = population("difference", tmp_path)
    run = spectra.fit(spectra.scan(folder), base=base)
    write_dense(tmp_path / "x", {"a.weight": np.ones((30, 40))})
    kept = folder / "m01" / "model.safetensors"
    kept.rename(tmp_path / "kept")
    shutil.copy(tmp_path / "x" / "model.safetensors", kept)
    with pytest.raises(IntegrityError, match="not the checkpoint"):
        spectra.project(run, new)
    (tmp_path / "kept").rename(kept)
    spectra.project(run, new)
    shutil.copy(kept, tmp_path / "base" / "model.safetensors")
    with pytest.raises(IntegrityError, match="bytes that were fitted"):
        spectra.project(run, new)


def test_a_member_that_is_gone_is_named(tmp_path):
    folder, new, *_ = population("adapters", tmp_path)
    run = spectra.fit(spectra.scan(folder))
    shutil.rmtree(folder / "a02")
    with pytest.raises(UsageError, match="a02") as caught:
        spectra.project(run, new)
    assert caught.value.code == "E_SOURCE"


def test_a_member_that_changes_under_way_is_told(tmp_path, monkeypatch):
    folder, new, *_ = population("dense", tmp_path)
    run = spectra.fit(spectra.scan(folder))
    real = spectra.study.projection.members_again

    def then_touched(*arguments):
        found = real(*arguments)
        os.truncate(folder / "m02" / "model.safetensors", 4000)
        return found

    monkeypatch.setattr("spectra.study.projection.members_again", then_touched)
    with pytest.raises(IntegrityError, match="cannot be read again"):
        spectra.project(run, new)


def test_nothing_in_common_is_one_clear_error(tmp_path):
    folder, *_ = population("adapters", tmp_path)
    write_dense(tmp_path / "full", {"a.weight": np.ones((24, 16))})
    run = spectra.fit(spectra.scan(folder))
    with pytest.raises(UsageError, match="none is one of the run's 2") as e:
        spectra.project(run, tmp_path / "full")
    assert e.value.code == "E_NO_LAYER"


def test_layers_that_only_one_has_are_listed(tmp_path):
    folder, *_ = population("dense", tmp_path)
    rng = np.random.default_rng(3)
    own = {
        "a.weight": rng.standard_normal((30, 40)),
        "c.weight": rng.standard_normal((5, 6)),
    }
    write_dense(tmp_path / "one", own)
    run = spectra.fit(spectra.scan(folder))
    document = spectra.project(run, tmp_path / "one").document
    assert [layer["name"] for layer in document["layers"]] == ["a"]
    assert document["n_common"] == 1
    assert document["only_in_run"] == ["b"]
    assert document["only_in_model"] == ["c"]
    only = spectra.project(run, tmp_path / "new" / "m09", layers=["b"])
    assert [layer["name"] for layer in only.layers] == ["b"]


@pytest.mark.parametrize("wrapped", ["newcomer", "members"])
def test_a_wrapper_around_all_names_is_seen_through(tmp_path, wrapped):
    rng = np.random.default_rng(0)
    for i in range(5):
        new = i == 4
        prefix = "wrap." if new == (wrapped == "newcomer") else ""
        tensors = {
            f"{prefix}{name}": rng.standard_normal((8, 9))
            for name in ("q.weight", "k.weight", "v.weight")
        }
        write_dense(tmp_path / ("new" if new else "p") / f"m{i}", tensors)
    run = spectra.fit(spectra.scan(tmp_path / "p"))
    document = spectra.project(run, tmp_path / "new" / "m4").document
    assert document["n_common"] == 3
    assert document["only_in_model"] == []
    assert [layer["name"] for layer in document["layers"]] == list(run.layers)


@pytest.mark.parametrize("kind", ["adapters", "dense"])
def test_a_layer_that_cannot_be_used_is_set_aside(tmp_path, kind):
    folder, new, *_ = population(kind, tmp_path)
    shutil.rmtree(new)
    rng = np.random.default_rng(0)
    bad = np.full((30, 40), np.nan)
    if kind == "dense":
        good = rng.standard_normal((40, 30))
        write_dense(new, {"a.weight": bad, "b.weight": good})
    else:
        A, B = rng.standard_normal((2, 16)), rng.standard_normal((24, 2))
        write_adapter(new, {"a": (bad[:2, :16], B), "b": (A, B[:9])}, 2)
    run = spectra.fit(spectra.scan(folder))
    document = spectra.project(run, new).document
    assert [layer["name"] for layer in document["layers"]] == ["b"]
    (record,) = document["quarantine"]
    assert (record["code"], record["layer"]) == ("NONFINITE", "a")
    worse = tmp_path / "bad\x1b"
    if kind == "dense":
        write_dense(worse, {"a.weight": bad})
    else:
        write_adapter(worse, {"a": (bad[:2, :16], B)}, 2)
    nothing = spectra.project(run, worse)
    assert nothing.layers == []
    assert nothing.text.startswith("no layer of bad\\x1b ")
    nothing.to_json()


def test_copies_among_the_members_count_once(tmp_path):
    folder, new, maps, x, _ = population("dense", tmp_path)
    shutil.copytree(folder / "m00", folder / "m00-again")
    run = spectra.fit(spectra.scan(folder))
    own = [maps[i]["a"] for i in sorted(maps)]
    (layer, _) = spectra.project(run, new).layers
    assert layer["n_models"] == 9
    expected = naive_projection(own, x["a"], LEVELS)["captured"]
    for k in (1, 4):
        assert layer["captured"][str(k)] == pytest.approx(expected[k])
    found = spectra.project(run, folder / "m00").layers[0]
    assert found["copies"] == ["m00", "m00-again"]


def test_levels_are_counted_from_one(tmp_path):
    folder, new, *_ = population("adapters", tmp_path)
    run = spectra.fit(spectra.scan(folder))
    with pytest.raises(UsageError, match="counted from 1"):
        spectra.project(run, new, k=[0])


def test_one_row_a_layer(tmp_path):
    pytest.importorskip("pandas")
    folder, new, *_ = population("adapters", tmp_path)
    run = spectra.fit(spectra.scan(folder))
    found = spectra.project(run, new)
    table = found.to_dataframe()
    assert table["name"].tolist() == ["a", "b"]
    assert table["captured_4"].tolist() == [
        layer["captured"]["4"] for layer in found.layers
    ]
    assert table["nearest"].tolist() == [
        layer["nearest"][0]["id"] for layer in found.layers
    ]


MEASURE = """
    import re, sys
    from pathlib import Path
    import spectra
    run = spectra.load(sys.argv[1])
    found = spectra.project(run, sys.argv[2], memory=int(sys.argv[3]))
    # Not ru_maxrss: that begins with what the parent held at the fork.
    status = Path("/proc/self/status").read_text()
    print(int(re.search(r"VmHWM:\\s+([0-9]+) kB", status)[1]) * 1024)
    print(found.to_json())
"""


@pytest.mark.slow
def test_peak_memory_stays_below_what_was_given(tmp_path):
    """With room for the members of a layer, and with the disk for them."""
    shapes = {f"l{i}.weight": (800, 1600) for i in range(3)}
    folder, _, _ = dense(tmp_path, 25, shapes)
    (folder / "m24").rename(tmp_path / "new")
    spectra.fit(spectra.scan(folder), tmp_path / "run.h5")
    printed = []
    for mib in (512, 224):
        done = subprocess.run(
            [
                sys.executable, "-c", textwrap.dedent(MEASURE),
                str(tmp_path / "run.h5"), str(tmp_path / "new"),
                str(mib * 2**20),
            ],
            env=os.environ | {"SPECTRA_CACHE": str(tmp_path / "cache")},
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        peak, document = done.stdout.splitlines()
        assert int(peak) <= mib * 2**20
        printed.append(document)
    assert printed[0] == printed[1]
    assert (tmp_path / "cache" / "spill").is_dir()


def test_every_key_and_word_is_explained(tmp_path):
    folder, new, *_ = population("dense", tmp_path)
    run = spectra.fit(spectra.scan(folder), save_directions=True)
    document = spectra.project(run, new).document
    page = text_of("project.md")
    keys = {k for k in keys_of(document) if not k.endswith("_reason")}
    assert keys - words_in_code_type(page) == set()
    words = {
        "member", "copy", "at-mean", "related", "part-copy",
        "too-few-members", "typical", "unusual", "not-better-than-random",
    }  # fmt: skip
    assert first_cells(page) == (first_cells(page) & keys) | words
