"""Adapters kept as shared bases: against explicit maps, files and hashes."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from safetensors.numpy import load_file, save_file

import spectra
from spectra.core.errors import BudgetError, IntegrityError, UsageError
from tests.checkpoints import adapters, dense, write_adapter
from tests.reference.compression import least_squares

SCHEMES = ["jd-full", "jd-diag"]
SHAPES = {"a.q": (24, 16), "b.q": (18, 16)}
RANKS = (2, 3, 2, 4, 2)


def compressed(folder, tmp_path, scheme="jd-full", **wish):
    run = spectra.fit(spectra.scan(folder))
    return spectra.compress(run, tmp_path / "c", scheme=scheme, **wish)


def families(folder, sizes, *, seed=0):
    """Write adapters whose bases are common within each of some families."""
    rng = np.random.default_rng(seed)
    for family, size in enumerate(sizes):
        U, V = rng.standard_normal((24, 3)), rng.standard_normal((3, 16))
        for i in range(size):
            B = U @ rng.standard_normal((3, 3))
            write_adapter(folder / f"f{family}-{i}", {"q": (V, B)}, 3)
    return folder


def maps_of(members, name):
    return [s * (B @ A) for A, B, s in (m[name] for m in members.values())]


def kept_of(path, layer):
    """Return each row's map from what the folder holds, as it is written."""
    tensors = load_file(path / "basis.safetensors")
    tensors |= load_file(path / "coefficients.safetensors")
    made, seen = [], {}
    for cluster in layer["clusters"]:
        U, V, sigma = (
            tensors[f"{layer['name']}.{cluster}.{kind}"].astype("f8")
            for kind in ("U", "V", "sigma")
        )
        number = seen[cluster] = seen.get(cluster, -1) + 1
        S = sigma[number]
        made.append(U @ (np.diag(S) if S.ndim == 1 else S) @ V.T)
    return made


def weights(folder):
    """Return B A times the scale that the configuration says, by module."""
    config = json.loads((folder / "adapter_config.json").read_text())
    tensors = load_file(folder / "adapter_model.safetensors")
    assert config["use_rslora"] is False
    assert not config["rank_pattern"]
    scale = config["lora_alpha"] / config["r"]
    found = {}
    for name, A in tensors.items():
        if name.endswith("lora_A.weight"):
            B = tensors[name.replace("lora_A", "lora_B")].astype("f8")
            module = name[len("base_model.model.") : -len(".lora_A.weight")]
            assert A.shape[0] == config["r"]
            found[module] = scale * (B @ A.astype("f8"))
    return found


@pytest.mark.parametrize("clusters", [1, 2])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_is_lost_is_what_is_told(tmp_path, scheme, clusters):
    folder, members = adapters(tmp_path / "p", RANKS, SHAPES)
    found = compressed(folder, tmp_path, scheme, k=3, clusters=clusters)
    assert found.document["scheme"] == scheme
    for layer in found.layers:
        own = maps_of(members, layer["name"])
        made = kept_of(found.path, layer)
        lost = [
            np.sum((x - y) ** 2) / np.sum(x**2)
            for x, y in zip(own, made, strict=True)
        ]
        assert_allclose(layer["errors"], lost, rtol=1e-4)
        assert_allclose(layer["error_in_sample"], np.mean(lost), rtol=1e-4)
        squares = np.array([np.sum(x**2) for x in own])
        assert_allclose(
            layer["r2_in_sample"], 1 - squares @ lost / squares.sum(),
            rtol=1e-4,
        )  # fmt: skip
        assert layer["k"] == 3
        assert len(set(layer["clusters"])) == clusters
        assert layer["converged"] is True


@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_other_numbers_of_these_bases_are_better(tmp_path, scheme):
    folder, members = adapters(tmp_path / "p", RANKS, SHAPES)
    found = compressed(folder, tmp_path, scheme, k=3)
    tensors = load_file(found.path / "basis.safetensors")
    for layer in found.layers:
        U, V = (tensors[f"{layer['name']}.0.{kind}"] for kind in "UV")
        best = [
            least_squares(M, U, V, diagonal=scheme == "jd-diag")
            for M in maps_of(members, layer["name"])
        ]
        assert_allclose(layer["errors"], best, rtol=1e-4)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_sum_of_the_ranks_is_every_adapter_again(tmp_path, scheme):
    folder, members = adapters(tmp_path / "p", RANKS, SHAPES)
    found = compressed(folder, tmp_path, scheme, k=sum(RANKS))
    for layer in found.layers:
        assert layer["error_in_sample"] < 1e-12
    for model, layers in members.items():
        made = spectra.reconstruct(found.path, model, tmp_path / "out")
        again = weights(tmp_path / "out")
        assert again.keys() == layers.keys()
        for name, (A, B, scale) in layers.items():
            own = scale * (B @ A)
            assert_allclose(again[name], own, atol=2e-6 * np.abs(own).max())
        assert max(row["stored_error"] for row in made.layers) < 1e-6


@pytest.mark.parametrize("dtype", ["F32", "BF16", "F16"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_adapter_is_what_its_bases_and_numbers_say(tmp_path, scheme, dtype):
    folder, _ = adapters(tmp_path / "p", RANKS, SHAPES, dtype=dtype)
    found = compressed(folder, tmp_path, scheme, k=3, clusters=2)
    step = {"F32": 2.0**-23, "F16": 2.0**-10, "BF16": 2.0**-7}[dtype]
    for i in range(len(RANKS)):
        made = spectra.reconstruct(found.path, f"a{i:02}", tmp_path / "out")
        again = weights(tmp_path / "out")
        for layer, row in zip(found.layers, made.layers, strict=True):
            wanted = kept_of(found.path, layer)[i]
            got = again[layer["name"]]
            off = np.linalg.norm(got - wanted) / np.linalg.norm(wanted)
            assert off < 2 * step
            assert row["stored_error"] == pytest.approx(
                off, rel=0.01, abs=3e-7
            )
            assert (row["rank"], row["k"]) == (3, 3)
            assert row["error"] == layer["errors"][i]
        assert "written with rank 3" in made.text


@pytest.mark.parametrize("scheme", SCHEMES)
def test_bytes_are_those_on_the_disk(tmp_path, scheme):
    folder, _ = adapters(tmp_path / "p", [4] * 6, SHAPES, dtype="BF16")
    found = compressed(folder, tmp_path, scheme, k=3, clusters=2).document
    for key, name in (("basis", "basis"), ("coefficient", "coefficients")):
        tensors = load_file(tmp_path / "c" / f"{name}.safetensors")
        nbytes = sum(values.nbytes for values in tensors.values())
        assert found[f"{key}_bytes"] == nbytes
    sides = sum(out + into for out, into in SHAPES.values())
    assert found["basis_bytes"] == 4 * 3 * 2 * sides
    each = 3 * 3 if scheme == "jd-full" else 3
    assert found["coefficient_bytes"] == 4 * 2 * 6 * each
    assert found["untouched_bytes"] == 0
    assert (
        found["original_bytes"] == found["analysed_bytes"] == 6 * 2 * 4 * sides
    )
    full, own = 2 * 4 * sides, 4 * 2 * each
    assert_allclose(found["break_even"], 4 * 3 * 2 * sides / (full - own))
    assert found["bytes_per_model"]["limit"] == own


@pytest.mark.parametrize("scheme", SCHEMES)
def test_energy_chooses_the_least_rank_of_each_layer(tmp_path, scheme):
    folder, _ = adapters(tmp_path / "p", RANKS, SHAPES)
    run = spectra.fit(spectra.scan(folder))
    found = spectra.compress(run, tmp_path / "c", scheme=scheme, energy=0.7)
    for layer in found.layers:
        assert layer["reached"] is True
        assert layer["error_in_sample"] <= 0.3
        fewer = spectra.compress(
            run, tmp_path / "d", scheme=scheme, k=layer["k"] - 1,
            layers=[layer["name"]],
        )  # fmt: skip
        assert fewer.layers[0]["error_in_sample"] > 0.3
    whole = spectra.compress(run, tmp_path / "e", scheme=scheme, energy=1.0)
    for layer in whole.layers:
        assert layer["reached"] is True
        assert layer["error_in_sample"] < 1e-12


def test_more_is_kept_by_more_numbers(tmp_path):
    folder, _ = adapters(tmp_path / "p", RANKS, {"q": (24, 16)})
    run = spectra.fit(spectra.scan(folder))

    def error(**wish):
        return spectra.compress(run, tmp_path / "c", **wish).layers[0][
            "error_in_sample"
        ]

    tables = {
        scheme: [error(scheme=scheme, k=k) for k in (1, 2, 4, 8, 13)]
        for scheme in SCHEMES
    }
    for errors in tables.values():
        assert errors == sorted(errors, reverse=True)
    for full, diagonal in zip(*tables.values(), strict=True):
        assert full <= diagonal + 1e-5
    assert error(scheme="jd-full", k=2, clusters=3) < tables["jd-full"][1]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_held_out_members_are_kept_by_bases_of_the_others(tmp_path, scheme):
    folder, members = adapters(tmp_path / "p", [2] * 4, {"q": (24, 16)})
    run = spectra.fit(spectra.scan(folder))
    found = spectra.compress(run, tmp_path / "c", scheme=scheme, k=3)
    (layer,) = found.layers
    missed = []
    for i, name in enumerate(members):
        others = [folder / each for each in members if each != name]
        fewer = spectra.fit(spectra.scan(*others))
        alone = spectra.compress(fewer, tmp_path / "d", scheme=scheme, k=3)
        tensors = load_file(alone.path / "basis.safetensors")
        missed.append(
            least_squares(
                maps_of(members, "q")[i], tensors["q.0.U"], tensors["q.0.V"],
                diagonal=scheme == "jd-diag",
            )
        )  # fmt: skip
    assert_allclose(layer["error_held_out"], np.mean(missed), rtol=1e-4)
    assert layer["error_held_out"] > layer["error_in_sample"]


def test_members_of_one_lineage_are_held_out_together(tmp_path):
    """Of pairs that nearly agree each would be kept by the other."""
    folder, members = adapters(tmp_path / "p", [2] * 4, {"q": (24, 16)})
    rng = np.random.default_rng(1)
    for i, (A, B, _) in enumerate(m["q"] for m in members.values()):
        near = B + 1e-4 * np.abs(B).max() * rng.standard_normal(B.shape)
        write_adapter(folder / f"b{i}", {"q": (A, near)}, 16)
    (layer,) = compressed(folder, tmp_path, k=12).layers
    assert layer["error_in_sample"] < 1e-6
    assert layer["error_held_out"] > 0.3


def test_many_groups_are_held_out_in_eight_fits(tmp_path, monkeypatch):
    folder, _ = adapters(tmp_path / "p", [1] * 20, {"q": (24, 16)})
    fits = []
    found = spectra.apply.compression.shared._found
    monkeypatch.setattr(
        spectra.apply.compression.shared, "_found",
        lambda updates, *rest: fits.append(len(updates))
        or found(updates, *rest),
    )  # fmt: skip
    (layer,) = compressed(folder, tmp_path, k=3).layers
    assert sorted(fits) == [17] * 4 + [18] * 4 + [20]
    assert layer["error_held_out"] > layer["error_in_sample"]


def test_one_lineage_has_nobody_to_judge_it(tmp_path):
    rng = np.random.default_rng(0)
    A, B = rng.standard_normal((2, 11)), rng.standard_normal((14, 2))
    for i in range(3):
        own = B + 1e-4 * rng.standard_normal(B.shape)
        write_adapter(tmp_path / "p" / f"a{i}", {"q": (A, own)}, 2)
    (layer,) = compressed(tmp_path / "p", tmp_path, k=1).layers
    assert layer["error_held_out"] is None
    assert "one lineage group" in layer["error_held_out_reason"]


def test_clusters_are_the_families(tmp_path):
    families(tmp_path / "p", (4, 3))
    run = spectra.fit(spectra.scan(tmp_path / "p"))
    one, two = (
        spectra.compress(
            run, tmp_path / "c", scheme="jd-full", k=3, clusters=c
        )
        for c in (1, 2)
    )
    assert one.layers[0]["error_in_sample"] > 0.2
    assert two.layers[0]["error_in_sample"] < 1e-10
    labels = two.layers[0]["clusters"]
    assert [len(set(part)) for part in (labels[:4], labels[4:])] == [1, 1]
    # Who is held out finds the bases of its family.
    assert two.layers[0]["error_held_out"] < 1e-10


def test_one_seed_gives_the_same_bytes(tmp_path):
    folder, _ = adapters(tmp_path / "p", [2] * 8, SHAPES)
    run = spectra.fit(spectra.scan(folder))
    a, b, c = (
        spectra.compress(
            run, tmp_path / name, scheme="jd-diag", k=2, clusters=3, seed=seed
        )
        for name, seed in (("a", 4), ("b", 4), ("c", 5))
    )
    assert a.document == b.document
    assert a.document["settings"]["seed"] == 4
    assert [x["clusters"] for x in a.layers] != [
        x["clusters"] for x in c.layers
    ]


def test_an_idle_member_and_a_copy(tmp_path):
    folder, members = adapters(tmp_path / "p", [2] * 4, {"q": (24, 16)})
    A = np.random.default_rng(3).standard_normal((2, 16))
    write_adapter(folder / "idle", {"q": (A, np.zeros((24, 2)))}, 2)
    source = folder / "a01"
    (folder / "copy").mkdir()
    for path in source.iterdir():
        (folder / "copy" / path.name).write_bytes(path.read_bytes())
    found = compressed(folder, tmp_path, k=2)
    (layer,) = found.layers
    lost, whole = (
        sum(np.sum(x**2) for x in each)
        for each in (
            [
                x - y
                for x, y in zip(
                    maps_of(members, "q"), kept_of(found.path, layer)[:4],
                    strict=True,
                )
            ],
            maps_of(members, "q"),
        )
    )  # fmt: skip
    assert_allclose(layer["r2_in_sample"], 1 - lost / whole, rtol=1e-5)
    found = compressed(folder, tmp_path, k=8)
    (layer,) = found.layers
    ids = [member["id"] for member in found.document["members"]]
    row = layer["rows"].index(ids.index("idle"))
    assert layer["errors"][row] is None
    assert layer["error_in_sample"] < 1e-12
    spectra.reconstruct(found.path, "idle", tmp_path / "idle")
    assert not weights(tmp_path / "idle")["q"].any()
    for name in ("a01", "copy"):
        spectra.reconstruct(found.path, name, tmp_path / name)
    again = weights(tmp_path / "copy")["q"]
    assert_allclose(again, weights(tmp_path / "a01")["q"])
    assert_allclose(
        again, 8 * np.matmul(*[
            load_file(source / "adapter_model.safetensors")[
                f"base_model.model.q.lora_{side}.weight"
            ].astype("f8") for side in "BA"
        ]), atol=1e-6,
    )  # fmt: skip


def test_idle_members_alone(tmp_path):
    rng = np.random.default_rng(3)
    for i in range(3):
        A = rng.standard_normal((2, 16))
        write_adapter(
            tmp_path / "p" / f"a{i}", {"q": (A, np.zeros((24, 2)))}, 2
        )
    (layer,) = compressed(tmp_path / "p", tmp_path, energy=0.9).layers
    assert layer["error_in_sample"] is None
    assert layer["error_in_sample_reason"] == "no member has moved"


def test_what_was_not_kept_is_copied_with_its_own_scale(tmp_path):
    folder, _ = adapters(tmp_path / "p", RANKS, SHAPES, dtype="BF16")
    found = compressed(folder, tmp_path, k=3, layers=["a.q"])
    spectra.reconstruct(found.path, "a03", tmp_path / "out")
    old, new = (
        load_file(each / "adapter_model.safetensors")
        for each in (folder / "a03", tmp_path / "out")
    )
    for side in "AB":
        name = f"base_model.model.b.q.lora_{side}.weight"
        assert new[name].tobytes() == old[name].tobytes()
    again = spectra.scan(tmp_path / "out")
    scales = {
        key.name: (source.rank, source.scale)
        for key, source in again.value.models[0].layers
    }
    assert scales == {"a.q": (3, 1.0), "b.q": (4, 4.0)}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_parts_of_an_update_get_one_factor(tmp_path, scheme):
    """Each part has bases of its own; PEFT has one A for all of them."""
    rng = np.random.default_rng(0)
    for i in range(4):
        A, B = rng.standard_normal((2, 8)), rng.standard_normal((24, 2))
        write_adapter(tmp_path / "p" / f"a{i}", {"attn.Wqkv": (A, B)}, 4)
    run = spectra.fit(spectra.scan(tmp_path / "p"))
    found = spectra.compress(run, tmp_path / "c", scheme=scheme, k=3)
    made = spectra.reconstruct(found.path, "a2", tmp_path / "out")
    assert {row["rank"] for row in made.layers} == {9}
    order = [x["forms"][0]["parts"][1]["start"] for x in found.layers]
    assert order != sorted(order)
    wanted = [
        kept_of(found.path, found.layers[i])[2] for i in np.argsort(order)
    ]
    again = weights(tmp_path / "out")["attn.Wqkv"]
    assert_allclose(again, np.concatenate(wanted), atol=1e-5)
    part = spectra.compress(
        run, tmp_path / "d", scheme=scheme, k=3, layers=[run.layers[0]]
    )
    with pytest.raises(UsageError, match="only a part") as caught:
        spectra.reconstruct(part.path, "a2", tmp_path / "x")
    assert caught.value.code == "E_COMPRESSED"


@pytest.mark.parametrize(
    ("wish", "code"),
    [({"scheme": "jd"}, "E_SCHEME"), ({"clusters": 0}, "E_SCHEME"),
     ({"clusters": 2, "scheme": "model-axis"}, "E_SCHEME"),
     ({"seed": -1}, "E_SCHEME"), ({"k": 0}, "E_LEVEL"),
     ({"energy": 2}, "E_ENERGY"), ({"layers": ["z"]}, "E_NOTHING_TO_COMPARE")],
)  # fmt: skip
def test_what_cannot_be_kept(tmp_path, wish, code):
    folder, _ = adapters(tmp_path / "p", [2] * 3, {"q": (14, 11)})
    with pytest.raises(UsageError) as caught:
        compressed(folder, tmp_path, **({"scheme": "jd-full"} | wish))
    assert caught.value.code == code
    assert not (tmp_path / "c").exists()


def test_full_weights_and_other_adapters_are_refused(tmp_path):
    folder, _, _ = dense(tmp_path, 3, {"a.weight": (9, 14)})
    with pytest.raises(UsageError, match="holds full weights") as caught:
        compressed(folder, tmp_path)
    assert caught.value.code == "E_SCHEME"
    rng = np.random.default_rng(0)
    for i in range(3):
        kohya = {
            "lora_unet_x.lora_down.weight": rng.standard_normal((2, 6)),
            "lora_unet_x.lora_up.weight": rng.standard_normal((5, 2)),
            "lora_unet_x.alpha": np.array(2.0),
        }
        (tmp_path / "k" / str(i)).mkdir(parents=True)
        save_file(kohya, tmp_path / "k" / str(i) / "x.safetensors")
    with pytest.raises(UsageError, match="no adapter_config") as caught:
        compressed(tmp_path / "k", tmp_path)
    assert caught.value.code == "E_SCHEME"
    assert not (tmp_path / "c").exists()


def test_bytes_other_than_those_fitted_are_refused(tmp_path):
    folder, _ = adapters(tmp_path / "p", [2] * 3, {"q": (14, 11)})
    run = spectra.fit(spectra.scan(folder))
    (folder / "a00").rename(tmp_path / "x")
    (folder / "a01").rename(folder / "a00")
    (tmp_path / "x").rename(folder / "a01")
    with pytest.raises(IntegrityError, match="bytes that were fitted"):
        spectra.compress(run, tmp_path / "c", scheme="jd-full")


@pytest.mark.parametrize(
    "name", ["basis.safetensors", "coefficients.safetensors"]
)
def test_not_a_byte_of_it_can_change(tmp_path, name):
    folder, _ = adapters(tmp_path / "p", [2] * 3, {"q": (14, 11)})
    found = compressed(folder, tmp_path, k=2)
    content = bytearray((found.path / name).read_bytes())
    content[-1] ^= 1
    (found.path / name).write_bytes(content)
    with pytest.raises(IntegrityError, match="not what compress wrote"):
        spectra.reconstruct(found.path, "a00", tmp_path / "out")


def test_a_member_whose_other_tensors_have_changed_is_refused(tmp_path):
    folder, _ = adapters(tmp_path / "p", [2] * 3, SHAPES)
    found = compressed(folder, tmp_path, k=2, layers=["a.q"])
    path = folder / "a01" / "adapter_model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # the last tensor is of b.q
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="no layers differ"):
        spectra.reconstruct(found.path, "a01", tmp_path / "out")
    assert list((tmp_path / "out").glob("*")) == []


def test_either_scheme_takes_the_place_of_the_other(tmp_path):
    folder, _ = adapters(tmp_path / "p", [2] * 3, {"q": (14, 11)})
    for scheme in ("jd-full", "model-axis", "jd-diag"):
        found = compressed(folder, tmp_path, scheme, k=2)
        made = spectra.reconstruct(found.path, "a01", tmp_path / "out")
        assert made.document["scheme"] == scheme
    with pytest.raises(UsageError) as caught:
        spectra.reconstruct(found.path, "a01", folder / "a01")
    assert caught.value.code == "E_OUTPUT"


def test_memory_is_asked_for_before_it_is_taken(tmp_path):
    folder, _ = adapters(tmp_path / "p", [2] * 3, {"q": (14, 11)})
    run = spectra.fit(spectra.scan(folder))
    with pytest.raises(BudgetError):
        spectra.compress(run, tmp_path / "c", scheme="jd-full", memory=2**20)
    found = spectra.compress(run, tmp_path / "c", scheme="jd-full", k=2)
    with pytest.raises(BudgetError):
        spectra.reconstruct(found.path, "a00", tmp_path / "out", memory=2**20)


def test_every_key_is_explained(tmp_path):
    folder, _ = adapters(tmp_path / "p", [2] * 4, {"q": (24, 16)})
    found = compressed(folder, tmp_path, energy=0.5, clusters=2)
    made = spectra.reconstruct(found.path, "a01", tmp_path / "out")
    page = Path(spectra.__file__).parents[1] / "docs" / "compress.md"
    explained = set(re.findall(r"`(\w+)`", page.read_text("utf-8")))
    tables = [found.document, *found.layers, *found.document["members"]]
    tables += [*made.layers, found.document["settings"], made.document]
    keys = {key for table in tables for key in table}
    assert {k for k in keys if not k.endswith("_reason")} - explained == set()


def table_rows(population):
    """Return the rows of the page's table of figures for a population."""
    page = Path(spectra.__file__).parents[1] / "docs" / "compress.md"
    rows = [
        [cell.strip(" `") for cell in line.strip("|").split("|")]
        for line in page.read_text("utf-8").splitlines()
        if line.startswith(f"| {population} |")
    ]
    assert rows
    return rows


def assert_figures(folder, tmp_path, population):
    layers = ["encoder.layer.3.attention.self.value"]
    run = spectra.fit(spectra.scan(folder), layers=layers)
    for _, scheme, k, clusters, *figures in table_rows(population):
        found = spectra.compress(
            run, tmp_path / "c", scheme=scheme, k=int(k),
            clusters=int(clusters),
        )  # fmt: skip
        document, (layer,) = found.document, found.layers
        kept = document["basis_bytes"] + document["coefficient_bytes"]
        held_out = layer["error_held_out"]
        told = [
            f"{kept / document['analysed_bytes']:.2f}",
            f"{document['break_even']:.1f}",
        ]
        assert figures[:2] == told
        for figure, value in zip(
            figures[2:], (layer["error_in_sample"], held_out), strict=True
        ):
            if value is None:
                assert figure == ""
            else:
                assert float(figure) == pytest.approx(value, abs=0.0015)


@pytest.mark.slow
def test_the_figures_of_the_page_are_those_of_the_demo(tmp_path):
    folder = Path(spectra.__file__).parent / "demo_population" / "independent"
    assert_figures(folder, tmp_path, "demo")


def test_the_figures_of_the_page_are_those_of_minilm(populations, tmp_path):
    assert_figures(populations / "minilm-lora", tmp_path, "minilm-lora")
