"""Merging adapters on disk: what is written beside naive twins, and refusals.

The twins form every update, (out, in); what was written is read by spectra.
"""

import json
import re
import tracemalloc
import zlib
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import spectra
from spectra.apply.merging.choice import OPTIONS, chosen
from spectra.apply.merging.methods import METHODS
from spectra.core.catalog import LayerKey, LowRankSource
from spectra.core.errors import BudgetError, StorageError, UsageError
from spectra.core.tensors import TensorRef
from spectra.study.merging.module import How, layer_nbytes, merged
from spectra.study.merging.parents import parents_of
from spectra.subspaces.layer import LayerTask
from spectra.subspaces.recipes.stored import stored_members
from spectra.weights.bytes import FileSource
from tests.checkpoints import adapters, factors, write_adapter, write_dense
from tests.hub import Repository
from tests.reference.merging import (
    TWINS,
    alignment_ratio,
    by_model,
    explicit,
    interference,
)
from tests.study.hub_population import TAG, kohya, peft
from tests.study.test_hub import serve, surroundings

__all__ = ["surroundings"]

SHAPES = {"layer.2.q": (24, 16), "layer.10.down": (12, 30)}
CONFIGS = {
    "m1": {"r": 2, "lora_alpha": 8},
    "m2": {"r": 4, "lora_alpha": 3, "use_rslora": True},
    "m10": {
        "r": 3,
        "lora_alpha": 5,
        "rank_pattern": {"q": 1},
        "alpha_pattern": {r"layer\.10\.down": 2},
    },
}
RANKS = {"m1": (2, 2), "m2": (4, 4), "m10": (1, 3)}
SCALES = {"m1": (4.0, 4.0), "m2": (1.5, 1.5), "m10": (5.0, 2 / 3)}
WEIGHTS = (0.5, -1.0, 2.0)
FILES = {"README.md", "adapter_config.json", "adapter_model.safetensors"}

CASES = [
    ("mean", {}),
    ("weighted", {"weights": WEIGHTS}),
    ("task-arithmetic", {"lam": 0.3}),
    ("ties", {"density": 0.4, "lam": 0.8}),
    ("dare", {"density": 0.6, "seed": 3}),
    ("knots", {"density": 0.5}),
    ("tsv-m", {}),
    ("iso-c", {"lam": 2.0}),
    ("iso-cts", {}),
    ("cart", {}),
    ("subspace", {"k": 1, "weights": WEIGHTS}),
]

PUBLISHED = [
    ("ties", {"density": 0.4, "trim": "layer"}),
    ("ties", {"density": 0.4, "space": "core"}),
    ("ties", {"density": 0.4, "space": "core", "trim": "layer"}),
    ("dare", {"density": 0.6, "seed": 3, "space": "core"}),
    ("knots", {"density": 0.3, "trim": "layer"}),
    ("knots", {"density": 0.3, "space": "core"}),
    ("knots", {"density": 0.3, "space": "core", "trim": "layer"}),
]
"""The other ways in which the same method was published."""


@pytest.fixture
def parents(tmp_path):
    """Return the folder of three adapters, and (A, B, scale) by layer."""
    rng = np.random.default_rng(0)
    held = {name: [] for name in SHAPES}
    for member, config in CONFIGS.items():
        layers = {}
        for n, (name, (out, into)) in enumerate(SHAPES.items()):
            A, B = factors(rng, out, RANKS[member][n], into)
            layers[name] = A, B
            A, B = (F.astype(np.float32) for F in (A, B))
            held[name].append((A, B, SCALES[member][n]))
        settings = {k: v for k, v in config.items() if k != "lora_alpha"}
        write_adapter(
            tmp_path / "p" / member, layers, config["lora_alpha"], **settings
        )
    return tmp_path / "p", held


def read(folder):
    """Return each map of an adapter, as spectra reads it."""
    (model,) = spectra.scan(folder).value.models
    files = {file.path: file for file in model.files}
    found = {}
    for key, source in model.layers:
        task = LayerTask(key, "", ((0, model.id, source),), files)
        (update,) = stored_members(task)()
        found[key.name] = update.update()
    return found


def code_of(call, *arguments, **named):
    with pytest.raises(UsageError) as caught:
        call(*arguments, **named)
    return caught.value.code


def test_every_method_is_among_the_cases():
    assert [name for name, _ in CASES] == [m.name for m in METHODS]


def twins(method, held, options):
    """Return the merge of each layer, (out, in)."""
    options = dict(options)
    trims_all = method in {"ties", "knots"}
    if trims_all and options.pop("trim", "model") == "model":
        return dict(
            zip(held, by_model(method, held.values(), **options), strict=True)
        )
    found = {}
    for name, updates in held.items():
        if method == "dare":
            seed = options["seed"], zlib.crc32(name.encode())
            found[name] = TWINS[method](updates, **options | {"seed": seed})
        else:
            found[name] = TWINS[method](updates, **options)
    return found


@pytest.mark.parametrize(("method", "options"), CASES + PUBLISHED)
def test_what_is_written_is_the_merge(parents, tmp_path, method, options):
    folder, held = parents
    out = tmp_path / "out"
    done = spectra.merge(folder, out, method=method, rank=9, **options)
    found, rows = read(out), {row["name"]: row for row in done.layers}
    assert list(found) == sorted(SHAPES)
    for name, whole in twins(method, held, options).items():
        U, s, Vh = np.linalg.svd(whole)
        tail = np.linalg.norm(s[9:]) / np.linalg.norm(s)
        assert rows[name]["error"] == pytest.approx(tail, abs=1e-12)
        wanted = (U[:, :9] * s[:9]) @ Vh[:9]
        assert_allclose(
            found[name], wanted, rtol=0, atol=1e-6 * np.abs(wanted).max()
        )
    assert list(rows) == list(SHAPES)  # 2 before 10
    assert rows["layer.2.q"]["ranks"] == [2, 4, 1]
    # Entries of the updates themselves are not of few directions.
    is_dense = method in {"ties", "dare"} and "space" not in options
    assert (done.document["error"] > 0.1) == is_dense


def test_the_error_of_the_rank_is_the_tail_of_the_spectrum(parents, tmp_path):
    folder, held = parents
    done = spectra.merge(folder, tmp_path / "out", method="mean", rank=3)
    found, squares = read(tmp_path / "out"), []
    for row in done.layers:
        whole = TWINS["mean"](held[row["name"]])
        U, s, Vh = np.linalg.svd(whole)
        tail, size = np.linalg.norm(s[3:]), np.linalg.norm(s)
        assert row["error"] == pytest.approx(tail / size, rel=1e-10)
        assert row["norm"] == pytest.approx(size, rel=1e-10)
        best = (U[:, :3] * s[:3]) @ Vh[:3]
        assert_allclose(found[row["name"]], best, atol=1e-6 * s[0])
        squares.append((tail**2, size**2))
    tails, sizes = np.sum(squares, axis=0)
    assert done.document["error"] == pytest.approx(np.sqrt(tails / sizes))
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"{done.document['error']:.2e} over 2 layers" in card


def test_the_rank_is_the_largest_of_the_parents(parents, tmp_path):
    done = spectra.merge(parents[0], tmp_path / "out", method="mean")
    assert done.document["rank"] == 4
    tensors = load_file(tmp_path / "out" / "adapter_model.safetensors")
    assert {
        name: tensor.shape for name, tensor in tensors.items()
    } == {
        "base_model.model.layer.2.q.lora_A.weight": (4, 16),
        "base_model.model.layer.2.q.lora_B.weight": (24, 4),
        "base_model.model.layer.10.down.lora_A.weight": (4, 30),
        "base_model.model.layer.10.down.lora_B.weight": (12, 4),
    }  # fmt: skip


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_order_of_the_sources_changes_no_byte(parents, tmp_path):
    """Of dare neither, whose draws follow the order of the ids."""
    folder, _ = parents
    found = []
    for n, order in enumerate(permutations(CONFIGS)):
        out = tmp_path / f"out{n}"
        spectra.merge(
            [folder / name for name in order], out, method="dare", seed=1
        )
        found.append(bytes_of(out))
    assert found[0].keys() == FILES
    assert all(each == found[0] for each in found)
    spectra.merge(folder, tmp_path / "other", method="dare", seed=2)
    assert bytes_of(tmp_path / "other") != found[0]


def test_how_many_layers_at_once_changes_no_byte(
    parents, tmp_path, monkeypatch
):
    found = []
    for n, cores in enumerate((1, 8)):
        monkeypatch.setattr(
            "spectra.study.inspection.cores", lambda c=cores: c
        )
        out = tmp_path / f"out{n}"
        spectra.merge(parents[0], out, method="ties")
        found.append(bytes_of(out))
    assert found[0] == found[1]


def test_a_layer_is_merged_the_same_beside_any_others(parents, tmp_path):
    for n, layers in enumerate(([], ["*.down"])):
        out = tmp_path / f"out{n}"
        spectra.merge(parents[0], out, method="dare", layers=layers)
    assert_allclose(
        read(tmp_path / "out0")["layer.10.down"],
        read(tmp_path / "out1")["layer.10.down"],
        rtol=0, atol=0,
    )  # fmt: skip
    assert list(read(tmp_path / "out1")) == ["layer.10.down"]


def test_weights_by_id_and_in_the_order_of_ids(parents, tmp_path):
    """Ids are in natural order: m2 comes before m10."""
    folder, _ = parents
    ids = ("m1", "m2", "m10")
    by_id = dict(zip(ids[::-1], WEIGHTS[::-1], strict=True))
    for n, weights in enumerate((WEIGHTS, by_id)):
        done = spectra.merge(
            folder, tmp_path / str(n), method="weighted", weights=weights
        )
        rows = done.document["models"]
        assert {row["id"]: row["weight"] for row in rows} == by_id
    assert bytes_of(tmp_path / "0") == bytes_of(tmp_path / "1")


@pytest.mark.parametrize(
    ("method", "options", "says"),
    [
        ("subspace", {"k": 2}, "this subspace merge is the mean"),
        ("weighted", {"weights": (3, 3, 3)}, "this is the mean"),
        ("task-arithmetic", {"lam": 1 / 3}, "this is the mean"),
        ("dare", {"density": 1.0}, "this is task-arithmetic"),
    ],
)
def test_where_a_method_is_another_that_is_said(
    parents, tmp_path, method, options, says
):
    other = says.split()[-1]
    found = []
    for n, (name, given) in enumerate(((method, options), (other, {}))):
        done = spectra.merge(
            parents[0], tmp_path / str(n), method=name, rank=9, **given
        )
        found.append(read(tmp_path / str(n)))
        said = [note for note in done.notes if note.endswith(says)]
        assert len(said) == (1 if n == 0 else 0)
        if said:
            assert said[0] in (tmp_path / "0" / "README.md").read_text()
    for layer, update in found[0].items():
        assert_allclose(update, found[1][layer], atol=1e-7)


def test_what_only_some_have_is_left_out_and_said(parents, tmp_path):
    folder, _ = parents
    rng = np.random.default_rng(1)
    layers = {
        name: factors(rng, out, 2, into)
        for name, (out, into) in (SHAPES | {"head": (6, 5)}).items()
    }
    write_adapter(folder / "m3", layers, 2, target_modules=["q", "head"])
    path = folder / "m3" / "adapter_model.safetensors"
    bias = {"base_model.model.layer.2.q.bias": np.ones(24, np.float32)}
    save_file(load_file(path) | bias, path)
    done = spectra.merge(folder, tmp_path / "out", method="mean")
    assert [
        (each["id"], each["layer"], each["code"])
        for each in done.document["left_out"]
    ] == [
        ("m3", "head", "NOT_IN_ALL"),
        ("m3", "base_model.model.layer.2.q.bias", "SKIP_NOT_UPDATE"),
    ]  # fmt: skip
    assert done.document["quarantine"] == []
    assert sorted(read(tmp_path / "out")) == sorted(SHAPES)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| m3 | head | NOT_IN_ALL |" in card
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert config["target_modules"] == sorted(SHAPES)


def spoil(folder, layer):
    path = folder / "adapter_model.safetensors"
    tensors = load_file(path)
    tensors[f"base_model.model.{layer}.lora_A.weight"][0, 0] = np.nan
    save_file(tensors, path)


def test_a_layer_that_cannot_be_used(parents, tmp_path):
    """The others are written; room in the header stays blank."""
    folder, held = parents
    spoil(folder / "m2", "layer.2.q")
    out = tmp_path / "out"
    done = spectra.merge(folder, out, method="mean", rank=9)
    (record,) = done.document["quarantine"]
    assert (record["id"], record["layer"]) == ("m2", "layer.2.q")
    assert record["code"] == "NONFINITE"
    found = read(out)
    assert list(found) == ["layer.10.down"]
    wanted = TWINS["mean"](held["layer.10.down"])
    assert_allclose(found["layer.10.down"], wanted, atol=1e-7)
    path = out / "adapter_model.safetensors"
    with safe_open(path, "np") as file:
        assert len(file.keys()) == 2
    assert int.from_bytes(path.read_bytes()[:8], "little") % 8 == 0
    config = json.loads((out / "adapter_config.json").read_text())
    assert config["target_modules"] == ["layer.10.down"]
    assert "| m2 | layer.2.q | NONFINITE |" in (out / "README.md").read_text()


def test_nothing_is_written_where_nothing_can_be_used(parents, tmp_path):
    folder, _ = parents
    for layer in SHAPES:
        spoil(folder / "m2", layer)
    out = tmp_path / "out"
    assert code_of(spectra.merge, folder, out, method="mean") == "E_MERGE"
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("stop", [KeyboardInterrupt, MemoryError])
def test_an_interrupt_leaves_what_stood_there(parents, tmp_path, stop):
    folder, _ = parents
    new, old = tmp_path / "new", tmp_path / "old"
    spectra.merge(folder, old, method="mean")
    before = bytes_of(old)

    def interrupt(event):
        if event.stage == "merge":
            raise stop

    for out in (new, old):
        with pytest.raises(stop):
            spectra.merge(folder, out, method="iso-c", on_event=interrupt)
    assert list(new.iterdir()) == []
    assert bytes_of(old) == before
    spectra.merge(folder, new, method="iso-c")  # empty, and so to be used
    spectra.merge(folder, old, method="iso-c")  # made by this command
    assert bytes_of(old) == bytes_of(new) != before


def test_a_disk_that_refuses_half_way(parents, tmp_path, monkeypatch):
    """The folder is known to be ours, so that it can be written again."""
    out, replace = tmp_path / "out", Path.replace

    def once(path, target):
        if list(out.glob("[!.]*")):
            raise OSError(28, "No space left on device")
        return replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", once)
        with pytest.raises(StorageError) as caught:
            spectra.merge(parents[0], out, method="mean")
    assert caught.value.code == "E_DISK_FULL"
    assert [path.name for path in out.iterdir()] == [
        "adapter_model.safetensors"
    ]
    spectra.merge(parents[0], out, method="mean")
    assert {path.name for path in out.iterdir()} == FILES


def test_folders_that_are_not_ours(parents, tmp_path):
    folder, _ = parents
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    file = tmp_path / "file"
    file.write_text("mine")
    for out in (other, file, folder, folder / "m1"):
        before = list(folder.rglob("*"))
        assert code_of(spectra.merge, folder, out, method="mean") == "E_OUTPUT"
        assert list(folder.rglob("*")) == before
    assert [path.name for path in other.iterdir()] == ["notes.txt"]


def test_what_a_killed_process_left_is_in_nobodys_way(parents, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / ".adapter_model.safetensors.4194999.tmp").write_bytes(b"half")
    spectra.merge(parents[0], out, method="mean")
    assert {path.name for path in out.iterdir()} == FILES


def test_sources_of_every_kind_are_the_same_adapters(parents, tmp_path):
    """A catalogue, files, and snapshots in the cache of the hub's client."""
    folder, _ = parents
    catalog = spectra.scan(folder)
    catalog.save(tmp_path / "c.jsonl")
    files = [folder / m / "adapter_model.safetensors" for m in CONFIGS]
    cache = tmp_path / "cache"
    for member in CONFIGS:
        repository = cache / f"models--org--{member}"
        snapshot = repository / "snapshots" / ("0" * 40)
        snapshot.mkdir(parents=True)
        (repository / "blobs").mkdir()
        for path in (folder / member).iterdir():
            blob = path.name.replace(".", "-")  # a hash, on the hub
            (repository / "blobs" / blob).write_bytes(path.read_bytes())
            (snapshot / path.name).symlink_to(f"../../blobs/{blob}")
    found = []
    for n, sources in enumerate(
        (folder, catalog, tmp_path / "c.jsonl", files, cache)
    ):
        out = tmp_path / str(n)
        done = spectra.merge(sources, out, method="knots")
        found.append(read(out))
    rows = done.document["models"]
    assert {row["revision"] for row in rows} == {"0" * 40}
    for other in found[1:]:
        for name, update in found[0].items():
            assert_allclose(other[name], update, atol=1e-9)


def test_an_adapter_that_has_changed_since_it_was_scanned(parents, tmp_path):
    folder, _ = parents
    catalog = spectra.scan(folder)
    path = folder / "m2" / "adapter_model.safetensors"
    tensors = load_file(path)
    save_file(tensors, path, metadata={"other": "header"})
    out = tmp_path / "out"
    assert code_of(spectra.merge, catalog, out, method="mean") == "E_MERGE"
    assert not out.exists()


def test_a_merge_does_not_replace_one_that_it_reads(parents, tmp_path):
    folder, _ = parents
    spectra.merge(folder, tmp_path / "out", method="mean")
    sources = [folder, tmp_path / "out"]
    out = tmp_path / "out"
    assert code_of(spectra.merge, sources, out, method="mean") == "E_OUTPUT"


@pytest.mark.parametrize(
    ("method", "options", "says"),
    [
        ("average", {}, "use mean, weighted"),
        ("mean", {"lam": 1.0}, "mean does not take --lambda; it takes no"),
        ("ties", {"k": 2, "seed": 1}, "take --seed, -k; it takes --lambda, "),
        ("subspace", {}, "subspace needs -k"),
        ("weighted", {}, "weighted needs --weights"),
        ("weighted", {"weights": (1, 2)}, "2 --weights for 3 adapters"),
        ("weighted", {"weights": {"m1": 1.0}}, "m10, m2"),
        ("weighted", {"weights": (1, 1, -2)}, "sum is not 0"),
        ("weighted", {"weights": (1, 1, np.nan)}, "finite"),
        ("ties", {"density": 0.0}, "above 0"),
        ("ties", {"density": 1.01}, "at most 1"),
        ("dare", {"seed": -1}, "0 or more"),
        ("iso-c", {"lam": np.inf}, "a finite number"),
        ("subspace", {"k": 0}, "1 or more"),
        ("mean", {"space": "core"}, "mean does not take --space"),
        ("dare", {"trim": "layer"}, "dare does not take --trim"),
        ("ties", {"space": "full"}, "--space full is not core or dense"),
        ("knots", {"trim": "V"}, "--trim V is not layer or model"),
        ("mean", {"rank": 0}, "1 or more"),
        ("mean", {"dtype": "F64"}, "use F32, BF16, F16"),
    ],
)  # fmt: skip
def test_options_that_cannot_be(parents, tmp_path, method, options, says):
    with pytest.raises(UsageError, match=says) as caught:
        spectra.merge(parents[0], tmp_path / "out", method=method, **options)
    assert caught.value.code == "E_METHOD"
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_merged(parents, tmp_path):
    folder, _ = parents
    out = tmp_path / "out"

    def refused(*sources, says, **options):
        with pytest.raises(UsageError, match=says) as caught:
            spectra.merge(sources, out, method="mean", **options)
        assert caught.value.code == "E_MERGE"
        assert not out.exists()

    refused(folder / "m1", says="of 1 adapters")
    refused(folder, layers=["nothing"], says="no module in common that")
    write_adapter(
        tmp_path / "x", {"z": factors(np.random.default_rng(0), 4, 1, 4)}, 1
    )
    refused(folder, tmp_path / "x", says="no module in common")
    rng = np.random.default_rng(0)
    (tmp_path / "style.safetensors").write_bytes(
        kohya(rng)["style.safetensors"]
    )
    refused(folder, tmp_path / "style.safetensors", says="not one of PEFT")
    write_dense(tmp_path / "full", {"w": np.eye(4)})
    refused(folder, tmp_path / "full", says="full weights, and m1 updates")


def test_full_weights_beside_updates_may_be_left_out(parents, tmp_path):
    """A head that was trained in full is there in many adapters."""
    folder, _ = parents
    for member in CONFIGS:
        path = folder / member / "adapter_model.safetensors"
        head = {
            "base_model.model.score.weight": np.eye(5, dtype=np.float32),
            "base_model.model.score.bias": np.ones(5, np.float32),
        }
        save_file(load_file(path) | head, path)
    out = tmp_path / "out"
    assert code_of(spectra.merge, folder, out, method="mean") == "E_MERGE"
    done = spectra.merge(folder, out, method="mean", layers=["layer.*"])
    assert sorted(read(out)) == sorted(SHAPES)
    assert done.document["left_out"] == []


def test_several_maps_in_one_factor_are_written_as_one(tmp_path):
    """Read as q, k and v, which share A; PEFT knows their one module."""
    rng = np.random.default_rng(0)
    name, held = "blocks.0.attn.qkv", []
    for i in range(2):
        A, B = factors(rng, 24, 2, 8)
        write_adapter(tmp_path / "p" / f"m{i}", {name: (A, B)}, 2)
        held.append((A.astype("f4"), B.astype("f4"), 1.0))
    done = spectra.merge(
        tmp_path / "p", tmp_path / "out", method="iso-c", rank=4
    )
    (row,) = done.layers
    assert (row["name"], row["shape"]) == (name, [24, 8])
    tensors = load_file(tmp_path / "out" / "adapter_model.safetensors")
    stem = f"base_model.model.{name}.lora_"
    found = tensors[f"{stem}B.weight"] @ tensors[f"{stem}A.weight"]
    wanted = TWINS["iso-c"](held)
    assert_allclose(found, wanted, atol=1e-6 * np.abs(wanted).max())
    assert len(read(tmp_path / "out")) == 3


@pytest.mark.parametrize("method", ["iso-c", "iso-cts"])
def test_a_rank_that_cuts_equal_singular_values_is_told(tmp_path, method):
    rng = np.random.default_rng(0)
    for i in range(2):
        write_adapter(
            tmp_path / "p" / f"m{i}", {"q": factors(rng, 9, 2, 8)}, 2
        )

    def notes(rank):
        done = spectra.merge(
            tmp_path / "p", tmp_path / "out", method=method, rank=rank
        )
        return [note for note in done.notes if "arbitrary" in note]

    (note,) = notes(None)
    assert "rank 2 keeps is arbitrary, and --rank 4 keeps all" in note
    assert notes(4) == []


def test_names_and_shapes_that_peft_reads(tmp_path):
    """An adapter's own name goes, the four axes of a convolution stay."""
    rng = np.random.default_rng(0)
    stem = "base_model.model.conv.lora_"
    for i in range(2):
        folder = tmp_path / "p" / f"m{i}"
        write_adapter(folder, {"q": factors(rng, 6, 2, 5)}, 2)
        path = folder / "adapter_model.safetensors"
        tensors = {
            key.replace(".weight", ".default.weight"): value
            for key, value in load_file(path).items()
        }
        tensors |= {
            f"{stem}A.weight": rng.standard_normal((2, 3, 2, 2)),
            f"{stem}B.weight": rng.standard_normal((4, 2, 1, 1)),
        }
        save_file(tensors, path)
    spectra.merge(tmp_path / "p", tmp_path / "out", method="mean", rank=5)
    found = load_file(tmp_path / "out" / "adapter_model.safetensors")
    assert found[f"{stem}A.weight"].shape == (5, 3, 2, 2)
    assert found[f"{stem}B.weight"].shape == (4, 5, 1, 1)
    assert "base_model.model.q.lora_A.weight" in found


def test_kernels_of_other_forms_are_other_layers(tmp_path):
    """Though as matrices they have one shape."""
    rng = np.random.default_rng(0)
    for i, kernel in enumerate(((3, 2, 2), (12, 1, 1))):
        folder = tmp_path / "p" / f"m{i}"
        write_adapter(folder, {"q": factors(rng, 6, 2, 5)}, 2)
        path = folder / "adapter_model.safetensors"
        stem = "base_model.model.conv.lora_"
        tensors = {
            f"{stem}A.weight": rng.standard_normal((2, *kernel)),
            f"{stem}B.weight": rng.standard_normal((4, 2, 1, 1)),
        }
        save_file(load_file(path) | tensors, path)
    done = spectra.merge(tmp_path / "p", tmp_path / "out", method="mean")
    assert [row["name"] for row in done.layers] == ["q"]
    assert {each["layer"] for each in done.document["left_out"]} == {"conv"}


@pytest.mark.parametrize(
    ("stored", "asked", "written"),
    [
        (("F32", "F32"), None, "F32"),
        (("BF16", "BF16"), None, "BF16"),
        (("BF16", "F16"), None, "F32"),
        (("F64", "F64"), None, "F32"),
        (("F32", "F32"), "F16", "F16"),
    ],
)
def test_the_dtype_is_that_of_the_parents(tmp_path, stored, asked, written):
    held = []
    for i, dtype in enumerate(stored):
        _, made = adapters(
            tmp_path / f"p{i}", [3], {"q": (9, 8)}, seed=i, dtype=dtype
        )
        held.append(made["a00"]["q"])
    sources = [tmp_path / "p0", tmp_path / "p1"]
    out = tmp_path / "out"
    done = spectra.merge(sources, out, method="mean", rank=6, dtype=asked)
    (model,) = spectra.scan(out).value.models
    assert {ref.dtype for _, s in model.layers for ref in s.tensors} == {
        written
    }
    assert done.document["dtype"] == written
    wanted = sum(map(explicit, held)) / 2
    share = {"F32": 1e-6, "F16": 2e-3, "BF16": 2e-2}[written]
    assert_allclose(read(out)["q"], wanted, atol=share * np.abs(wanted).max())


def test_what_does_not_fit_half_precision(parents, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(UsageError, match="--dtype F32") as caught:
        spectra.merge(
            parents[0], out, method="task-arithmetic", lam=1e12, dtype="F16"
        )
    assert caught.value.code == "E_MERGE"
    assert list(out.iterdir()) == []


HOSTILE = "m|x`[a](http:__b)<img src=x>\n# @you"


def test_the_card_says_what_the_parents_are(parents, tmp_path):
    folder, _ = parents
    (folder / "m1").rename(folder / HOSTILE)
    mit, apache = "license: mit", "license: apache-2.0"
    lines = {HOSTILE: mit, "m2": apache, "m10": apache}
    for member, line in lines.items():
        card = f"---\n{line}\nbase_model: org/base\n---\n"
        (folder / member / "README.md").write_text(card)
    done = spectra.merge(folder, tmp_path / "out", method="ties", density=0.3)
    card = (tmp_path / "out" / "README.md").read_text()
    (row,) = [line for line in card.splitlines() if "img" in line]
    assert "<" not in row
    assert "](" not in row.replace("\\]", "")
    assert row.count(" | ") == 4
    for text in (
        "Yadav et al. 2023", "`--density 0.3`", "`--lambda 1.0`",
        "own coordinates", "over all layers together, as in the code of",
        "licences differ", "apache-2.0", "org/base",
    ):  # fmt: skip
        assert text in card
    assert not any("base model" in note for note in done.notes)
    assert "\nlicense:" not in card
    text = "---\nlicense: mit\nbase_model: org/other\n---\n"
    (folder / "m2" / "README.md").write_text(text)
    done = spectra.merge(folder, tmp_path / "out", method="mean")
    assert any("do not name one base model" in note for note in done.notes)


def test_the_card_says_which_of_the_published_ways_it_was(parents, tmp_path):
    folder, _ = parents
    done = spectra.merge(
        folder, tmp_path / "out", method="knots", space="core", trim="layer"
    )
    card = (tmp_path / "out" / "README.md").read_text()
    assert "`--space core`" in card
    assert "`--trim layer`" in card
    assert "Panariello et al. 2025), along the axes of the factors" in card
    assert "kept in each layer, as in the code of Panariello" in card
    assert done.document["axes"] == "factors"
    done = spectra.merge(folder, tmp_path / "out", method="ties")
    assert done.document["axes"] is None
    spectra.merge(folder, tmp_path / "out", method="mean")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "entries" not in card


def test_interference_of_the_parents(parents, tmp_path):
    """Sums over the layers of what twins find of explicit updates."""
    folder, held = parents
    found = []
    for n, method in enumerate(("mean", "tsv-m")):
        done = spectra.merge(
            folder, tmp_path / str(n), method=method, interference=True
        )
        found.append(done.interference)
    assert found[0] == found[1]
    (told, _), rows = found, {row["name"]: row for row in done.layers}
    layers = held.items()
    for name, updates in layers:
        wanted = interference(updates, "entrywise")
        assert rows[name]["sti"] == pytest.approx(wanted, rel=1e-9)
    assert told["sti"] == pytest.approx(sum(row["sti"] for row in done.layers))
    pairs, ids = np.array(told["pairs"]), list(CONFIGS)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        wanted = sum(
            interference([u[i], u[j]], "entrywise") for _, u in layers
        )
        assert pairs[i, j] == pairs[j, i] == pytest.approx(wanted, rel=1e-9)
        for a, b in ((i, j), (j, i)):
            ratios = [
                alignment_ratio(explicit(u[a]), explicit(u[b]))
                for _, u in layers
            ]
            assert told["sar"][a][b] == pytest.approx(np.mean(ratios))
    i, j = np.unravel_index(pairs.argmax(), (3, 3))
    assert told["most"] == [ids[i], ids[j]]
    off = [told["sar"][i][j] for i in range(3) for j in range(3) if i != j]
    assert told["sar_mean"] == pytest.approx(np.mean(off))
    card = (tmp_path / "1" / "README.md").read_text()
    assert f"interference {told['sti']:.3g}, most of a pair" in card
    assert f"between {ids[i]} and {ids[j]}" in card
    assert "Gargiulo et al. 2024; Marczak et al. 2025" in card


def test_looking_at_interference_changes_no_byte_of_the_weights(
    parents, tmp_path
):
    for method in ("mean", "ties"):
        found = []
        for asked in (False, True):
            out = tmp_path / f"{method}{asked}"
            done = spectra.merge(
                parents[0], out, method=method, interference=asked
            )
            assert (done.interference is not None) == asked
            assert all((row["sti"] is None) != asked for row in done.layers)
            found.append((out / "adapter_model.safetensors").read_bytes())
        assert found[0] == found[1]


def test_interference_of_untrained_updates_is_not_known(tmp_path):
    """What is zero has no ratio, and gets in nobody's way."""
    rng = np.random.default_rng(0)
    for n in range(3):
        A, B = factors(rng, 8, 2, 6)
        write_adapter(
            tmp_path / "p" / f"m{n}", {"q": (A, B if n == 2 else 0 * B)}, 2
        )
    done = spectra.merge(
        tmp_path / "p", tmp_path / "out", method="mean", interference=True
    )
    told = json.loads(done.to_json())["interference"]
    assert told["sti"] == pytest.approx(0, abs=1e-20)
    idle = np.array(told["pairs"])[:2, :2]
    assert not idle.any()
    assert told["sar"][0] == [None, None, None]
    assert told["sar"][2] == [0, 0, pytest.approx(1)]
    assert told["sar_mean"] == 0


def test_a_layer_that_cannot_be_used_counts_in_no_share(parents, tmp_path):
    """As if it were not there: entries are trimmed over the others."""
    folder, _ = parents
    spoil(folder / "m2", "layer.2.q")
    spectra.merge(folder, tmp_path / "a", method="ties")
    spectra.merge(
        folder, tmp_path / "b", method="ties", layers=["layer.10.down"]
    )
    a, b = (read(tmp_path / name) for name in "ab")
    assert_array_equal(a["layer.10.down"], b["layer.10.down"])


def test_one_licence_and_one_base_are_those_of_the_merge(tmp_path):
    folder, _ = adapters(tmp_path / "p", [2, 2], {"q": (8, 6)})
    for path in folder.iterdir():
        (path / "README.md").write_text("---\nlicense: mit\n---\n")
        config = json.loads((path / "adapter_config.json").read_text())
        config |= {
            "base_model_name_or_path": 'org/"base"',
            "task_type": "CAUSAL_LM",
            "target_modules": ["q"],
        }
        (path / "adapter_config.json").write_text(json.dumps(config))
    done = spectra.merge(folder, tmp_path / "out", method="mean")
    assert done.notes == []
    (model,) = spectra.scan(tmp_path / "out").value.models
    assert model.license == "mit"
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == 'org/"base"'
    assert config["task_type"] == "CAUSAL_LM"
    assert 'base_model: "org/\\"base\\""' in (
        tmp_path / "out" / "README.md"
    ).read_text("utf-8")


def test_modules_are_named_as_the_parents_name_them(parents, tmp_path):
    """In whatever order they do; PEFT keeps them as a set."""
    folder, _ = parents
    orders = (["down", "q"], ["q", "down"], ["q", "down"])
    for member, targets in zip(CONFIGS, orders, strict=True):
        path = folder / member / "adapter_config.json"
        config = json.loads(path.read_text()) | {"target_modules": targets}
        path.write_text(json.dumps(config))
    done = spectra.merge(folder, tmp_path / "out", method="mean")
    assert [n for n in done.notes if "licences differ or are not known" in n]
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert sorted(config["target_modules"]) == ["down", "q"]


def test_copies_count_and_that_is_said(tmp_path):
    folder, _ = adapters(tmp_path / "p", [2], {"q": (8, 6)})
    for n in (1, 2):
        target = folder / f"b{n}"
        target.mkdir()
        for name, body in bytes_of(folder / "a00").items():
            (target / name).write_bytes(body)
    done = spectra.merge(folder, tmp_path / "out", method="mean")
    assert len(done.document["models"]) == 3
    assert sum("counts beside it" in note for note in done.notes) == 2


def test_settings_in_which_parents_differ_are_not_kept(parents, tmp_path):
    folder, _ = parents
    for member, task in (("m1", "CAUSAL_LM"), ("m2", "SEQ_CLS")):
        path = folder / member / "adapter_config.json"
        config = json.loads(path.read_text()) | {"task_type": task}
        path.write_text(json.dumps(config))
    done = spectra.merge(folder, tmp_path / "out", method="mean")
    assert any(note.endswith("differ in task_type") for note in done.notes)
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert config["task_type"] is None


@pytest.mark.parametrize("looks", [False, True])
@pytest.mark.parametrize(
    ("name", "options"), [*CASES, ("ties", {"space": "core"})]
)
def test_a_module_takes_no_more_memory_than_is_told(
    tmp_path, name, options, looks
):
    """Updates wide, tall, and many against their sides."""
    for n, (ranks, shape) in enumerate(
        (([8] * 4, (300, 900)), ([8] * 4, (900, 300)), ([16] * 12, (90, 90)))
    ):
        adapters(tmp_path / f"p{n}", ranks, {"q": shape})
        catalog = spectra.scan(tmp_path / f"p{n}").value
        parents = parents_of(catalog)
        ids = [model.id for model in catalog.models]
        given = dict(options)
        if "weights" in given:
            given["weights"] = [1.0] * (len(ids) - 1) + [2.0]
        choice = chosen(name, given, ids)
        how = How(choice, parents.rank, "F32", FileSource, looks)
        (both,) = zip(parents.modules, parents.tasks, strict=True)
        merged(how, both)  # what is imported once
        tracemalloc.start()
        merged(how, both)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        told = layer_nbytes(
            parents.tasks[0], choice, looks_at_interference=looks
        )
        assert told / 3 <= peak <= told, n


@pytest.mark.parametrize(
    ("method", "n", "gib"), [("tsv-m", 100, 1), ("mean", 500, 3)]
)
def test_as_many_adapters_are_admitted_as_is_written(method, n, gib):
    """Nothing is read for it."""
    A = TensorRef("f", "A", 0, 0, "F32", (16, 4096))
    B = TensorRef("f", "B", 0, 0, "F32", (4096, 16))
    holder = LowRankSource(A, B, 1.0)
    holders = tuple((i, str(i), holder) for i in range(n))
    task = LayerTask(LayerKey("q", (4096, 4096), "low-rank"), "", holders, {})
    told = layer_nbytes(task, chosen(method, {}, [str(i) for i in range(n)]))
    assert 0.8 * gib < told / 2**30 < gib
    words = "hundred adapters are admitted" if n == 100 else "five hundred"
    assert f"{words} with {gib} GiB (`{method}`)" in " ".join(PAGE.split())


def test_a_layer_that_does_not_fit_is_not_begun(parents, tmp_path):
    with pytest.raises(BudgetError):
        spectra.merge(
            parents[0], tmp_path / "out", method="mean", memory="1MiB"
        )
    assert not (tmp_path / "out").exists()


def test_adapters_on_a_hub(monkeypatch, tmp_path, surroundings):
    shelf = [
        Repository(f"owner/m{i}", peft(np.random.default_rng(i)), (TAG,))
        for i in range(3)
    ]
    names = [each.id for each in shelf]
    with serve(shelf, monkeypatch):
        done = spectra.merge(names, tmp_path / "hub", method="mean")
    for each in shelf:
        for name, body in each.files.items():
            path = tmp_path / "local" / each.id.split("/")[1] / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
    spectra.merge(tmp_path / "local", tmp_path / "out", method="mean")
    assert [m["revision"] for m in done.document["models"]] == [
        each.sha for each in shelf
    ]
    card = (tmp_path / "hub" / "README.md").read_text()
    assert all(each.sha in card for each in shelf)
    for layer, update in read(tmp_path / "hub").items():
        assert_allclose(update, read(tmp_path / "out")[layer], atol=0)


def test_real_adapters(populations, tmp_path):
    """The rank of the sum is that of its parts, and so is its mean."""
    folder = populations / "minilm-lora"
    done = spectra.merge(folder, tmp_path / "out", method="mean", rank=64)
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    found = read(tmp_path / "out")
    assert len(found) == len(done.layers) > 2
    members = spectra.scan(folder).value.models
    name = done.layers[0]["name"]
    maps = []
    for model in members:
        files = {file.path: file for file in model.files}
        (held,) = [(k, s) for k, s in model.layers if k.name == name]
        task = LayerTask(held[0], "", ((0, "", held[1]),), files)
        (update,) = stored_members(task)()
        maps.append(update.update())
    U, s, Vh = np.linalg.svd(sum(maps) / len(maps), full_matrices=False)
    wanted = (U[:, :64] * s[:64]) @ Vh[:64]
    assert_allclose(found[name], wanted, atol=1e-6 * s[0])
    assert config["r"] == 64


PAGE = (Path(__file__).parents[2] / "docs" / "merge.md").read_text("utf-8")


def test_the_table_of_methods_is_that_of_the_code():
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.splitlines()
        if line.startswith("| `")
    ]
    told = {row[0].strip("`"): row[1:] for row in rows if len(row) == 4}
    assert list(told) == [method.name for method in METHODS]
    for method in METHODS:
        given = {"k": 2, "weights": WEIGHTS}
        given = {name: given[name] for name in method.needs}
        choice = chosen(method.name, given, "abc")
        defaults = [
            option.flag
            if option.name in method.needs
            else f"{option.flag} {choice.options[option.name]}"
            for option in OPTIONS
            if option.name in method.takes
        ]
        text = ", ".join(f"`{each}`" for each in defaults)
        options, cite, note = told[method.name]
        assert options.replace("none", "None") == text
        assert (cite, note) == (method.cite, method.note)


def test_the_document_is_explained(parents, tmp_path):
    done = spectra.merge(
        parents[0], tmp_path / "out", method="mean", interference=True
    )
    keys = {*done.document, *done.layers[0], *done.document["models"][0]}
    keys |= {*done.interference}
    assert keys <= set(re.findall(r"`(\w+)`", PAGE))
