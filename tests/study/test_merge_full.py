"""Merging full checkpoints on disk, beside naive twins of state dicts."""

import json
import os
import re
import signal
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from numpy.testing import assert_allclose
from safetensors.numpy import load_file, save_file

import spectra
from spectra.apply.merging.choice import chosen
from spectra.apply.merging.dense import FULL
from spectra.apply.merging.methods import METHODS
from spectra.apply.merging.trimming import Digits
from spectra.core.errors import BudgetError, StorageError, UsageError
from spectra.core.tensors import TensorRef
from spectra.store.shards import shards_of
from spectra.store.tensorfile import Planned
from spectra.study.merging import full_tensors
from spectra.study.merging.full_parents import Tensor, full_parents_of
from spectra.study.merging.full_tensors import Making, made_nbytes, units_of
from spectra.weights.bytes import FileSource
from tests.checkpoints import DTYPES, adapters, stored, write_dense
from tests.hub import Repository
from tests.reference.full import merged_states, run_mergekit
from tests.study.test_hub import serve, surroundings

__all__ = ["surroundings"]

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "docs" / name for name in ("merge.md", "merge-full.md")]
SHAPES = {
    "embed.weight": (40, 26),
    "h.2.up.weight": (30, 26),
    "h.2.up.bias": (30,),
    "h.10.down.weight": (26, 30),
    "norm.weight": (26,),
    "conv.weight": (6, 4, 3, 3),
    "row.weight": (1, 26),
    "scale": (),
}
IDS = ("m1", "m2", "m10")
WEIGHTS = (0.5, -1.0, 2.0)
CASES = [
    ("mean", {}),
    ("weighted", {"weights": WEIGHTS}),
    ("task-arithmetic", {"lam": 0.3}),
    ("ties", {"density": 0.4, "lam": 0.8}),
    ("ties", {"trim": "layer"}),
    ("dare", {"density": 0.6, "seed": 3}),
    ("knots", {"density": 0.5}),
    ("knots", {"trim": "layer", "lam": 0.5}),
    ("tsv-m", {"lam": 0.5}),
    ("iso-c", {"lam": 2.0}),
    ("iso-cts", {}),
    ("cart", {"lam": 0.7}),
    ("subspace", {"k": 1, "weights": WEIGHTS}),
]
ALONE = {"mean", "weighted", "cart", "subspace"}


def write(folder, state, dtype="F32", config=None):
    write_dense(folder, state, dtype, config)
    path = folder / "model.safetensors"
    ids = {"embed.position_ids": np.arange(5, dtype=np.int64)[None]}
    tensors = {
        name: x.reshape(state[name].shape)  # of one number: without axes
        for name, x in load_file(path).items()
    }
    save_file(tensors | ids, path, metadata={"format": "pt"})
    return {name: stored(x, dtype) for name, x in state.items()}


def population(folder, shapes=None, dtype="F32", *, seed=0, spread=0.1):
    """Write a base and three of its fine-tunes; return their states."""
    rng = np.random.default_rng(seed)
    shapes = SHAPES if shapes is None else shapes
    base = {n: np.asarray(rng.standard_normal(s)) for n, s in shapes.items()}
    states = {
        name: {
            n: np.asarray(x + spread * rng.standard_normal(x.shape))
            for n, x in base.items()
        }
        for name in IDS
    }
    below = write(folder / "base", base, dtype)
    return below, [
        write(folder / "p" / name, state, dtype)
        for name, state in states.items()
    ]


def read(folder):
    """Return every tensor of a checkpoint, as the safetensors library does."""
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        found |= load_file(path)
    return found


def weights_of(folder):
    found = read(folder)
    found.pop("embed.position_ids", None)
    return {name: x.astype(np.float64) for name, x in found.items()}


def require_near(found, wanted, share=1e-6):
    assert found.keys() == wanted.keys()
    for name, x in wanted.items():
        assert found[name].shape == x.shape
        assert_allclose(
            found[name], x, rtol=0, atol=share * np.abs(x).max(), err_msg=name
        )


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def refused(code, says, *arguments, **options):
    with pytest.raises(UsageError, match=says) as caught:
        spectra.merge(*arguments, **options)
    assert caught.value.code == code
    assert len(str(caught.value).splitlines()) == 1


def test_every_method_has_a_row_and_a_case():
    names = [method.name for method in METHODS]
    assert set(FULL) == set(names) == {name for name, _ in CASES}
    assert {n for n, row in FULL.items() if not row.needs_base} == ALONE


@pytest.mark.parametrize(("method", "options"), CASES)
def test_what_is_written_is_the_merge(tmp_path, method, options):
    base, states = population(tmp_path)
    out = tmp_path / "out"
    done = spectra.merge(
        tmp_path / "p", out, method=method, base=tmp_path / "base", **options
    )
    wanted = merged_states(method, states, base, **options)
    require_near(weights_of(out), wanted)
    assert {row["tensor"] for row in done.layers} == SHAPES.keys()
    for row in done.layers:
        added = wanted[row["tensor"]] - base[row["tensor"]]
        assert row["norm"] == pytest.approx(
            np.linalg.norm(added), rel=1e-5, abs=1e-12
        )
    for model, state in zip(done.document["models"], states, strict=True):
        moved = [np.sum((state[n] - base[n]) ** 2) for n in base]
        size = [np.sum(x**2) for x in base.values()]
        assert model["moved"] == pytest.approx(
            np.sqrt(sum(moved) / sum(size)), rel=1e-9
        )


@pytest.mark.parametrize(
    ("method", "options"), [case for case in CASES if case[0] in ALONE]
)
def test_some_methods_need_no_base(tmp_path, method, options):
    _, states = population(tmp_path)
    out = tmp_path / "out"
    done = spectra.merge(tmp_path / "p", out, method=method, **options)
    require_near(weights_of(out), merged_states(method, states, **options))
    assert done.document["base"] is None
    assert {row["moved"] for row in done.document["models"]} == {None}


@pytest.mark.parametrize("method", sorted(set(FULL) - ALONE))
def test_the_others_are_refused_without_one(tmp_path, method):
    population(tmp_path)
    out = tmp_path / "out"
    refused("E_METHOD", "--base", tmp_path / "p", out, method=method)
    assert not out.exists()


def test_inputs_that_come_first_are_turned(tmp_path):
    """GPT-2 stores in x out, where KnOTS and Iso-CTS tell sides apart."""
    shapes = {
        "h.0.attn.c_attn.weight": (8, 24),
        "h.0.mlp.c_fc.weight": (8, 32),
        "h.0.mlp.c_proj.weight": (32, 8),
        "h.0.mlp.c_fc.bias": (32,),
    }
    base, states = population(tmp_path, shapes)

    def turned(state):
        return {n: x.T if x.ndim == 2 else x for n, x in state.items()}

    for method in ("knots", "iso-cts"):
        out = tmp_path / method
        spectra.merge(
            tmp_path / "p", out, method=method, base=tmp_path / "base"
        )
        merged = merged_states(method, [*map(turned, states)], turned(base))
        require_near(weights_of(out), turned(merged))
        wrong = merged_states(method, states, base)
        off = weights_of(out)["h.0.mlp.c_fc.weight"]
        off -= wrong["h.0.mlp.c_fc.weight"]
        assert np.abs(off).max() > 1e-3


def test_matrices_that_lie_either_way_are_not_merged(tmp_path):
    """A square one has one shape both ways: its neighbours tell."""
    rng = np.random.default_rng(0)
    for name, shape in (("m1", (8, 32)), ("m2", (32, 8))):
        state = {
            "h.0.mlp.c_fc.weight": rng.standard_normal(shape),
            "h.0.attn.c_proj.weight": rng.standard_normal((8, 8)),
        }
        write(tmp_path / "p" / name, state)
    refused(
        "E_MERGE", "8 x 8 .inputs first. in m1, 8 x 8 in m2", tmp_path / "p",
        tmp_path / "out", method="mean", layers=["*attn*"],
    )  # fmt: skip


def test_pieces_and_workers_change_no_byte(tmp_path, monkeypatch):
    population(tmp_path)
    for method, options in (
        ("ties", {}),
        ("ties", {"trim": "layer"}),
        ("dare", {"seed": 1}),
        ("subspace", {"k": 1, "weights": WEIGHTS}),
    ):
        found = []
        for n, (block, cores) in enumerate(((2**23, 1), (64, 8))):
            monkeypatch.setattr(full_tensors, "_BLOCK", block)
            monkeypatch.setattr(full_tensors, "_FEWEST", min(block, 7))
            monkeypatch.setattr(
                "spectra.study.inspection.cores", lambda c=cores: c
            )
            out = tmp_path / f"{method}{len(options)}{n}"
            spectra.merge(
                tmp_path / "p", out, method=method, base=tmp_path / "base",
                **options,
            )  # fmt: skip
            found.append(load_file(out / "model.safetensors"))
        for name, x in found[0].items():
            if method == "subspace":  # A Gram matrix is summed in pieces.
                assert_allclose(x, found[1][name], rtol=1e-5, atol=1e-6)
            else:
                assert np.array_equal(x, found[1][name]), name


def test_equal_tensors_stay_what_they_are(tmp_path):
    """To the bit, though they were averaged."""
    population(tmp_path)
    same = np.random.default_rng(9).standard_normal(1000).astype(np.float32)
    for path in tmp_path.rglob("model.safetensors"):
        tensors = load_file(path) | {"frozen.weight": same}
        save_file(tensors, path, metadata={"format": "pt"})
    for method in ("mean", "task-arithmetic", "ties", "tsv-m"):
        out = tmp_path / method
        spectra.merge(
            tmp_path / "p", out, method=method, base=tmp_path / "base"
        )
        assert np.array_equal(read(out)["frozen.weight"], same)


@pytest.mark.parametrize(
    ("stored_as", "asked", "written"),
    [("BF16", None, "BF16"), ("F16", None, "F16"), ("F32", "BF16", "BF16"),
     ("F64", None, "F64")],
)  # fmt: skip
def test_dtypes(tmp_path, stored_as, asked, written):
    base, states = population(tmp_path, dtype=stored_as)
    out = tmp_path / "out"
    done = spectra.merge(
        tmp_path / "p", out, method="task-arithmetic", lam=0.5,
        base=tmp_path / "base", dtype=asked,
    )  # fmt: skip
    wanted = merged_states("task-arithmetic", states, base, lam=0.5)
    found = read(out)
    ids = found.pop("embed.position_ids")
    assert ids.tolist() == [[0, 1, 2, 3, 4]]
    assert {x.dtype for x in found.values()} == {np.dtype(DTYPES[written])}
    for name, x in wanted.items():
        rounded = stored(x, written)
        share = {"BF16": 2**-7, "F16": 2**-10, "F64": 1e-13}[written]
        assert_allclose(found[name].astype("f8"), rounded, rtol=share)
    assert done.document["dtype"] == asked
    assert {row["dtype"] for row in done.layers} == {written}


def test_what_does_not_fit_half_precision(tmp_path):
    population(tmp_path)
    out = tmp_path / "out"
    refused(
        "E_MERGE", "--dtype F32", tmp_path / "p", out, dtype="F16",
        method="task-arithmetic", lam=1e9, base=tmp_path / "base",
    )  # fmt: skip
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("most", [4160, 4160 + 120, 5000])
def test_shards_and_their_index(tmp_path, most):
    """As huggingface_hub fills them, where no tensor is larger than one."""
    from huggingface_hub import split_torch_state_dict_into_shards

    population(tmp_path)
    whole, out = tmp_path / "whole", tmp_path / "out"
    spectra.merge(tmp_path / "p", whole, method="mean")
    done = spectra.merge(tmp_path / "p", out, method="mean", shard_size=most)
    index = json.loads((out / "model.safetensors.index.json").read_text())
    tensors = read(whole)
    parent = tmp_path / "p" / "m1" / "model.safetensors"
    plan = split_torch_state_dict_into_shards(
        {name: torch.from_numpy(tensors[name]) for name in order_in(parent)},
        max_shard_size=most,
        filename_pattern="model{suffix}.safetensors",
    )
    assert index["weight_map"] == plan.tensor_to_filename
    assert index["metadata"]["total_size"] == sum(
        x.nbytes for x in tensors.values()
    )
    assert read(out).keys() == tensors.keys()
    for name, file in index["weight_map"].items():
        assert np.array_equal(load_file(out / file)[name], tensors[name])
    shards = sorted(set(index["weight_map"].values()))
    assert len(shards) > 2
    assert done.document["files"] == [*shards, "config.json"]


def test_a_shard_is_filled_to_the_last_byte():
    planned = [Planned(f"t{i}", "F32", (n,)) for i, n in enumerate((2, 3, 4))]
    for most, counts in ((8, [1, 1, 1]), (20, [2, 1]), (19, [1, 1, 1])):
        found = [len(shard.tensors) for shard in shards_of(planned, most)]
        assert found == counts


def order_in(path):
    """Return the names of a file's tensors in the order of their bytes."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    header.pop("__metadata__")
    return sorted(header, key=lambda name: header[name]["data_offsets"])


def test_sharded_parents(tmp_path):
    _, states = population(tmp_path)
    for name in IDS:
        folder = tmp_path / "p" / name
        tensors = load_file(folder / "model.safetensors")
        (folder / "model.safetensors").unlink()
        shards = {}
        for n, key in enumerate(tensors):
            shards.setdefault(f"model-0000{n % 2 + 1}-of-00002", []).append(
                key
            )
        for shard, keys in shards.items():
            save_file(
                {k: tensors[k] for k in keys}, folder / f"{shard}.safetensors"
            )
        index = {
            "weight_map": {
                key: f"{shard}.safetensors"
                for shard, keys in shards.items()
                for key in keys
            }
        }
        text = json.dumps(index)
        (folder / "model.safetensors.index.json").write_text(text)
    out = tmp_path / "out"
    spectra.merge(tmp_path / "p", out, method="mean")
    require_near(weights_of(out), merged_states("mean", states))
    (tmp_path / "p" / "m2" / "model-00002-of-00002.safetensors").unlink()
    refused(
        "E_MERGE", "m2 is not whole.*SHARD_MISSING",
        tmp_path / "p", tmp_path / "new", method="mean",
    )  # fmt: skip


PAPERS = {
    "config.json": b'{"model_type":  "x"}\n',
    "tokenizer.json": b"{}",
    "vocab.txt": b"[PAD]\r\n",
    "tokenizer.model": b"\x00\xff",
}
OTHERS = {
    "modeling_x.py": b"raise SystemExit",
    "training_args.bin": b"pickle",
    "notes.txt": b"mine",
    "optimizer.pt": b"pickle",
}


def test_papers_are_those_of_the_first_parent(tmp_path):
    population(tmp_path)
    for name in IDS:
        for paper, content in (PAPERS | OTHERS).items():
            text = content if name == "m1" else b'{"other": 1}'
            (tmp_path / "p" / name / paper).write_bytes(text)
    out = tmp_path / "out"
    spectra.merge(tmp_path / "p", out, method="mean")
    found = bytes_of(out)
    assert found.keys() == {*PAPERS, "README.md", "model.safetensors"}
    assert all(found[name] == content for name, content in PAPERS.items())


def test_code_that_a_configuration_names_is_told(tmp_path):
    population(tmp_path)
    config = {"auto_map": {"AutoModel": "modeling_x.X"}, "model_type": "x"}
    (tmp_path / "p/m1/config.json").write_text(json.dumps(config))
    done = spectra.merge(tmp_path / "p", tmp_path / "out", method="mean")
    (asks,) = [note for note in done.notes if "code of its own" in note]
    (differ,) = [note for note in done.notes if "configurations" in note]
    assert "model_type" in differ
    card = (tmp_path / "out" / "README.md").read_text()
    assert "was not copied" in card
    assert asks.startswith("config.json of m1")


def test_what_some_lack_is_refused_by_name(tmp_path):
    """A head of another size: mergekit would cut it, and spectra does not."""
    base, states = population(tmp_path)
    rng = np.random.default_rng(5)
    heads = {}
    for name, n in zip(IDS, (2, 2, 3), strict=True):
        path = tmp_path / "p" / name / "model.safetensors"
        head = rng.standard_normal((n, 26)).astype(np.float32)
        heads[name] = head
        save_file(load_file(path) | {"score.weight": head}, path)
    out = tmp_path / "out"
    refused(
        "E_MERGE", "score.weight: 2 x 26 in m1, 3 x 26 in m10.;",
        tmp_path / "p", out, method="mean",
    )  # fmt: skip
    with pytest.raises(UsageError) as caught:
        spectra.merge(
            tmp_path / "p", out, method="ties", base=tmp_path / "base"
        )
    assert "2 x 26 in m1, 3 x 26 in m10, none in base" in caught.value.what
    assert "--layers" in caught.value.advice
    assert not out.exists()
    globs = ["embed*", "h.*"]
    done = spectra.merge(
        tmp_path / "p", out, method="mean", base=tmp_path / "base",
        layers=globs,
    )  # fmt: skip
    found = weights_of(out)
    wanted = merged_states("mean", states)
    kept = {each["tensor"]: each["id"] for each in done.document["kept"]}
    assert kept == {
        "score.weight": "m1", "embed.position_ids": "base",
        **dict.fromkeys(
            ("norm.weight", "conv.weight", "row.weight", "scale"), "base"
        ),
    }  # fmt: skip
    assert np.array_equal(found["score.weight"], heads["m1"])
    for name, x in found.items():
        if name.startswith(("embed", "h.")):
            assert_allclose(x, wanted[name], atol=1e-6)
        elif name != "score.weight":
            assert np.array_equal(x, base[name])
    card = (out / "README.md").read_text()
    assert "| score.weight | m1 |" in card
    assert "6 tensors not merged" in card


def test_wrappers_of_the_base_and_of_parents_meet(tmp_path):
    """BertModel beside BertForMaskedLM: biases and norms too."""
    base, states = population(tmp_path)
    for name in IDS:
        path = tmp_path / "p" / name / "model.safetensors"
        tensors = {f"bert.{n}": x for n, x in load_file(path).items()}
        save_file(tensors, path)
    out = tmp_path / "out"
    done = spectra.merge(
        tmp_path / "p", out, method="task-arithmetic", base=tmp_path / "base"
    )
    wanted = merged_states("task-arithmetic", states, base)
    found = {n.removeprefix("bert."): x for n, x in read(out).items()}
    found.pop("embed.position_ids")
    require_near({n: x.astype("f8") for n, x in found.items()}, wanted)
    assert {row["tensor"] for row in done.layers} == {
        f"bert.{name}" for name in SHAPES
    }


def test_the_base_among_the_sources_is_no_parent(tmp_path):
    base, states = population(tmp_path)
    (tmp_path / "base").rename(tmp_path / "p" / "base")
    out = tmp_path / "out"
    done = spectra.merge(
        tmp_path / "p", out, method="task-arithmetic",
        base=tmp_path / "p" / "base",
    )  # fmt: skip
    wanted = merged_states("task-arithmetic", states, base)
    require_near(weights_of(out), wanted)
    assert [e["code"] for e in done.document["left_out"]] == ["IS_BASE"]
    sources = [tmp_path / "p" / "m1", tmp_path / "p" / "base"]
    refused(
        "E_MERGE", "of 1 checkpoints beside the base", sources, out,
        method="mean", base=tmp_path / "p" / "base",
    )  # fmt: skip


def test_a_copy_counts_and_is_told(tmp_path):
    _, states = population(tmp_path)
    (tmp_path / "p" / "m3").mkdir()
    for path in (tmp_path / "p" / "m1").iterdir():
        (tmp_path / "p" / "m3" / path.name).write_bytes(path.read_bytes())
    out = tmp_path / "out"
    done = spectra.merge(tmp_path / "p", out, method="mean")
    require_near(weights_of(out), merged_states("mean", [*states, states[0]]))
    assert any("m3 has the bytes of m1" in note for note in done.notes)


def test_numbers_that_cannot_be_used(tmp_path):
    """Of a checkpoint nothing can be left out."""
    population(tmp_path)
    path = tmp_path / "p" / "m2" / "model.safetensors"
    tensors = load_file(path)
    tensors["norm.weight"][3] = np.nan
    save_file(tensors, path)
    out = tmp_path / "out"
    refused(
        "E_MERGE", "norm.weight of m2 cannot be used .NONFINITE",
        tmp_path / "p", out, method="mean",
    )  # fmt: skip
    assert list(out.iterdir()) == []


def test_what_cannot_be_merged(tmp_path):
    population(tmp_path)
    folder, out = tmp_path / "p", tmp_path / "out"
    adapters(tmp_path / "a", [2, 2], {"q": (9, 8)})
    mean = {"method": "mean"}
    refused("E_MERGE", "of 1 checkpoints", folder / "m1", out, **mean)
    refused("E_MERGE", "that match", folder, out, layers=["no"], **mean)
    refused("E_MERGE", "full weights, and", [folder, tmp_path / "a"], out,
            **mean)  # fmt: skip
    refused("E_METHOD", "--rank is of adapters", folder, out, rank=2, **mean)
    refused("E_METHOD", "--interference", folder, out, interference=True,
            **mean)  # fmt: skip
    refused("E_METHOD", "no cores", folder, out, method="ties", space="core",
            base=tmp_path / "base")  # fmt: skip
    refused("E_METHOD", "--base is of full", tmp_path / "a", out,
            base=tmp_path / "base", **mean)  # fmt: skip
    refused("E_METHOD", "--shard-size is of", tmp_path / "a", out,
            shard_size="5GB", **mean)  # fmt: skip
    refused("E_BASE", "no single full", folder, out, base=folder, **mean)
    refused("E_BASE", "no single full", folder, out,
            base=tmp_path / "a" / "a00", **mean)  # fmt: skip
    refused("E_BYTES", "amount", folder, out, shard_size="many", **mean)
    write(tmp_path / "wide", {"embed.weight": np.ones((41, 26))})
    refused("E_MERGE", "40 x 26 in m1, 41 x 26 in wide", folder, out,
            base=tmp_path / "wide", **mean)  # fmt: skip
    assert not out.exists()


def test_a_parent_that_has_changed_since_it_was_scanned(tmp_path):
    population(tmp_path)
    catalog = spectra.scan(tmp_path / "p")
    path = tmp_path / "p" / "m2" / "model.safetensors"
    save_file(load_file(path), path, metadata={"other": "header"})
    refused("E_MERGE", "has changed", catalog, tmp_path / "o", method="mean")


def test_folders_that_are_not_ours(tmp_path):
    population(tmp_path)
    folder, other = tmp_path / "p", tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text("mine")
    adapters(tmp_path / "a", [2, 2], {"q": (9, 8)})
    spectra.merge(tmp_path / "a", tmp_path / "adapter", method="mean")
    write(tmp_path / "foreign", {"w.weight": np.ones((3, 3))})
    for out in (
        other, folder, folder / "m1", tmp_path / "adapter",
        tmp_path / "foreign",
    ):  # fmt: skip
        before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
        refused("E_OUTPUT", "command|read", folder, out, method="mean")
        after = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
        assert after == before
    spectra.merge(folder, tmp_path / "out", method="mean")
    refused(
        "E_OUTPUT", "one of the files to read", [folder, tmp_path / "out"],
        tmp_path / "out", method="mean",
    )  # fmt: skip


def test_weights_of_others_beside_ours_stay(tmp_path):
    population(tmp_path)
    folder, out = tmp_path / "p", tmp_path / "out"
    spectra.merge(folder, out, method="mean", shard_size="4000")
    save_file({"w": np.ones(3)}, out / "model.safetensors")
    before = bytes_of(out)
    refused("E_OUTPUT", "holds weights that", folder, out, method="mean")
    assert bytes_of(out) == before


def test_an_older_merge_leaves_nothing_behind(tmp_path):
    """Of more shards, of another parent's papers, of a killed process."""
    population(tmp_path)
    (tmp_path / "p" / "m1" / "vocab.txt").write_text("a")
    folder, out = tmp_path / "p", tmp_path / "out"
    spectra.merge(folder, out, method="mean", shard_size="1500")
    assert (out / "model.safetensors.index.json").exists()
    (out / ".model-00001-of-00009.safetensors.4194999.tmp").write_bytes(b"x")
    (folder / "m1" / "vocab.txt").unlink()
    spectra.merge(folder, out, method="mean")
    names = {"README.md", "config.json", "model.safetensors"}
    assert bytes_of(out).keys() == names
    spectra.merge(folder, out, method="mean", shard_size="3000")
    assert "model.safetensors" not in bytes_of(out)
    new = tmp_path / "new"
    spectra.merge(folder, new, method="mean", shard_size="3000")
    assert bytes_of(out).keys() == bytes_of(new).keys()


@pytest.mark.parametrize("stop", [KeyboardInterrupt, MemoryError])
def test_an_interrupt_leaves_what_stood_there(tmp_path, stop):
    population(tmp_path)
    folder, out = tmp_path / "p", tmp_path / "out"
    spectra.merge(folder, out, method="mean", shard_size="2000")
    before = bytes_of(out)

    def interrupt(event):
        if event.stage == "merge" and event.done == 3:
            raise stop

    with pytest.raises(stop):
        spectra.merge(
            folder, out, method="weighted", weights=WEIGHTS,
            shard_size="2000", on_event=interrupt,
        )  # fmt: skip
    assert bytes_of(out) == before


@pytest.mark.parametrize("renames", range(1, 7))
def test_between_renames_nothing_is_loaded_that_is_no_checkpoint(
    tmp_path, monkeypatch, renames
):
    """Of parts of two merges: the index is gone before the first of them."""
    population(tmp_path)
    folder, out, replace = tmp_path / "p", tmp_path / "out", Path.replace
    spectra.merge(folder, out, method="mean", shard_size="4000")
    n_files = len(bytes_of(out))
    count = 0

    def counted(path, target):
        nonlocal count
        count += 1
        if count > renames:
            raise OSError(28, "No space left on device")
        return replace(path, target)

    options = {
        "method": "weighted", "weights": WEIGHTS, "shard_size": "4000",
    }  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", counted)
        if renames < n_files:
            with pytest.raises(StorageError):
                spectra.merge(folder, out, **options)
            assert not (out / "model.safetensors.index.json").exists()
    spectra.merge(folder, out, **options)
    spectra.merge(folder, tmp_path / "new", **options)
    old, new = bytes_of(out), bytes_of(tmp_path / "new")
    assert old == new


def test_killed_half_way(tmp_path):
    """Nothing is there but drafts, which the next merge takes away."""
    population(tmp_path)
    out = tmp_path / "out"
    code = (
        "import os, signal, sys, spectra\n"
        "def die(event):\n"
        "    if event.stage == 'merge' and event.done == 4:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "spectra.merge(sys.argv[1], sys.argv[2], method='mean',"
        " shard_size='2000', on_event=die)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "p", out],
        check=False, timeout=120, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL
    assert list(out.iterdir())
    assert all(path.suffix == ".tmp" for path in out.iterdir())
    spectra.merge(tmp_path / "p", out, method="mean")
    assert bytes_of(out).keys() == {
        "README.md", "config.json", "model.safetensors"
    }  # fmt: skip


def making_of(folder, base, method, **options):
    catalog = spectra.scan(folder).value
    parents = full_parents_of(catalog, str(base))
    choice = chosen(method, options, IDS)
    planned = [
        Planned(t.own.name, t.own.dtype, t.own.shape) for t in parents.tensors
    ]
    return parents, Making(choice, IDS, parents.files, FileSource, planned)


@pytest.mark.parametrize(("method", "options"), CASES)
def test_a_unit_takes_no_more_than_was_foreseen(tmp_path, method, options):
    shapes = {"up.weight": (300, 200), "w.weight": (700, 60)}
    population(tmp_path, shapes)
    parents, making = making_of(
        tmp_path / "p", tmp_path / "base", method, **options
    )
    making = replace(making, least=np.full(3, 0.1))
    units = units_of(parents.tensors, making)
    most = max(made_nbytes(unit, making) for unit in units)

    def peak(work, *arguments):
        work(*arguments)
        tracemalloc.start()
        found = work(*arguments)
        nbytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return nbytes, found

    for unit in units:
        foreseen = made_nbytes(unit, making) + 2**16
        nbytes, rule = peak(making.rule, unit.tensor)
        assert nbytes <= most
        assert peak(making.made, unit, rule)[0] <= foreseen
        if "trim" in making.choice.options and making.trims(unit.tensor):
            unknown = Digits.unknown(3)
            assert peak(making.counted, unknown, unit)[0] <= foreseen
        if unit.tensor.kept is None:
            assert making.takes_map(unit.tensor) == (method in MAPS)


MAPS = {"knots", "tsv-m", "iso-c", "iso-cts", "cart"}


def test_memory_is_asked_for_before_anything_is_read(tmp_path, monkeypatch):
    """A large matrix is taken in pieces where the method lets it be."""
    monkeypatch.setattr("spectra.backend.memory.resident_bytes", lambda: 0)
    shapes = {"embed.weight": (5000, 200), "norm.weight": (200,)}
    base, states = population(tmp_path, shapes)
    out = tmp_path / "out"
    reads = []

    def refuse(self, ref, *bounds):
        reads.append(ref)
        raise AssertionError

    with monkeypatch.context() as patch:
        patch.setattr("spectra.weights.stream.TensorReader.read", refuse)
        with pytest.raises(BudgetError):
            spectra.merge(
                tmp_path / "p", out, method="tsv-m", base=tmp_path / "base",
                memory="90MiB",
            )  # fmt: skip
    assert reads == []
    assert not out.exists()
    spectra.merge(
        tmp_path / "p", out, method="task-arithmetic", lam=0.5,
        base=tmp_path / "base", memory="90MiB",
    )  # fmt: skip
    wanted = merged_states("task-arithmetic", states, base, lam=0.5)
    require_near(weights_of(out), wanted)


def needs(method, *shape):
    """Return what the largest unit takes of one tensor of three parents."""
    count = int(np.prod(shape))
    ref = TensorRef("f", "w.weight", 0, 2 * count, "BF16", shape)
    making = Making(chosen(method, {}, IDS), IDS, {}, FileSource, [])
    units = units_of([Tensor("w", ref, (ref,) * 3, ref)], making)
    assert sum(unit.stop - unit.start for unit in units) == count
    return max(made_nbytes(unit, making) for unit in units)


def test_what_the_page_says_of_memory():
    """Entries are taken in pieces; a tenth is kept back of what is given."""
    assert needs("ties", 10**6, 10**4) < 80 * 2**20
    page = " ".join(PAGES[1].read_text("utf-8").split())
    told = re.search(r"admitted with (\d+) GiB, with `knots` with (\d+)", page)
    for method, gib in zip(("tsv-m", "knots"), told.groups(), strict=True):
        room = 0.9 * int(gib) * 2**30 - 200 * 2**20
        assert 0.9 * room < needs(method, 4096, 14336) < room


def test_full_weights_on_a_hub(monkeypatch, tmp_path, surroundings):
    population(tmp_path)
    shelf = [
        Repository(f"owner/{name}", bytes_of(folder), ("x",))
        for name, folder in [
            ("base", tmp_path / "base"),
            *((name, tmp_path / "p" / name) for name in IDS),
        ]
    ]
    with serve(shelf, monkeypatch):
        done = spectra.merge(
            [each.id for each in shelf[1:]], tmp_path / "hub",
            method="ties", base="owner/base", trim="layer",
            mergekit=tmp_path / "m.yaml",
        )  # fmt: skip
    spectra.merge(
        tmp_path / "p", tmp_path / "out", method="ties", trim="layer",
        base=tmp_path / "base",
    )  # fmt: skip
    assert done.document["base"]["revision"] == shelf[0].sha
    card = (tmp_path / "hub" / "README.md").read_text()
    assert 'base_model: "owner/base"' in card
    found = read(tmp_path / "out")
    for name, x in read(tmp_path / "hub").items():
        assert np.array_equal(x, found[name])
    config = yaml.safe_load((tmp_path / "m.yaml").read_text())
    assert config["base_model"]["model"] == {
        "path": "owner/base", "revision": shelf[0].sha
    }  # fmt: skip


def test_a_real_fine_tune_and_its_base(populations, tmp_path):
    """Half the way from SCEPTR to what was fine-tuned from it."""
    folder = populations / "sceptr"
    sources = [folder / "SCEPTR_finetuned", folder / "SCEPTR"]
    out = tmp_path / "out"
    done = spectra.merge(sources, out, method="mean")
    a, b = (load_file(each / "model.safetensors") for each in sources)
    found = read(out)
    assert found.keys() == a.keys()
    assert len(done.layers) == 41
    for name, x in found.items():
        wanted = (a[name].astype("f8") + b[name]) / 2
        assert_allclose(x, wanted, atol=1e-6 * np.abs(wanted).max())
    (model,) = spectra.scan(out).value.models
    assert len(model.layers) > 5


EXPORTED = [
    ("mean", {}, "linear"),
    ("weighted", {"weights": WEIGHTS}, "linear"),
    ("task-arithmetic", {"lam": 0.3}, "task_arithmetic"),
    # Half of each tensor's entries is a whole number.
    ("ties", {"density": 0.5, "lam": 0.8, "trim": "layer"}, "ties"),
]


@pytest.mark.parametrize(("method", "options", "name"), EXPORTED)
def test_mergekit_does_the_same(tmp_path, method, options, name):
    """By its definitions."""
    shapes = {n: s for n, s in SHAPES.items() if n != "scale"}
    population(tmp_path, shapes)
    path, out = tmp_path / "m+@ .yaml", tmp_path / "out"
    for _ in range(2):  # Ours may be written over.
        spectra.merge(
            tmp_path / "p", out, method=method, base=tmp_path / "base",
            mergekit=path, **options,
        )  # fmt: skip
    config = yaml.safe_load(path.read_text())
    assert config["merge_method"] == name
    assert (config["dtype"], config["out_dtype"]) == ("float32", "float32")
    require_near(
        weights_of(out),
        run_mergekit(config, lambda place: weights_of(Path(place))),
    )


def test_dare_in_mergekit_has_the_same_mean_and_variance(tmp_path):
    """Weight lambda / density without its own rescaling: Yu et al.'s."""
    population(tmp_path)
    path = tmp_path / "m.yaml"
    spectra.merge(
        tmp_path / "p", tmp_path / "out", method="dare", density=0.5, lam=0.3,
        base=tmp_path / "base", mergekit=path,
    )  # fmt: skip
    config = yaml.safe_load(path.read_text())
    assert config["merge_method"] == "dare_linear"
    assert config["parameters"] == {"normalize": False, "rescale": False}
    assert {
        (m["parameters"]["weight"], m["parameters"]["density"])
        for m in config["models"]
    } == {(0.6, 0.5)}
    assert "draws other entries" in path.read_text()


@pytest.mark.parametrize(
    ("method", "options", "says"),
    [
        ("ties", {}, "give --trim layer"),
        ("knots", {}, "mergekit has no knots"),
        ("tsv-m", {}, "mergekit has no tsv-m"),
        ("iso-c", {}, "mergekit has no iso-c"),
        ("iso-cts", {}, "mergekit has no iso-cts"),
        ("cart", {}, "mergekit has no cart"),
        ("subspace", {"k": 1}, "mergekit has no subspace"),
        ("mean", {"layers": ["h.*"]}, "--layers has no counterpart"),
    ],
)
def test_what_mergekit_does_not_do(tmp_path, method, options, says):
    population(tmp_path)
    out, path = tmp_path / "out", tmp_path / "m.yaml"
    refused(
        "E_METHOD", says, tmp_path / "p", out, method=method, mergekit=path,
        base=tmp_path / "base", **options,
    )  # fmt: skip
    assert not out.exists()
    assert not path.exists()


def test_a_configuration_is_not_written_over_another_file(tmp_path):
    population(tmp_path)
    path = tmp_path / "mine.yaml"
    path.write_text("merge_method: slerp\n")
    out = tmp_path / "out"
    refused(
        "E_OUTPUT", "was not made", tmp_path / "p", out, method="mean",
        mergekit=path,
    )  # fmt: skip
    assert path.read_text() == "merge_method: slerp\n"
    assert not out.exists()


def test_adapters_for_mergekit_lie_on_the_base_that_they_name(tmp_path):
    adapters(tmp_path / "a", [2, 2], {"q": (9, 8)})
    path, out = tmp_path / "m.yaml", tmp_path / "out"
    refused("E_METHOD", "name one", tmp_path / "a", out, method="mean",
            mergekit=path)  # fmt: skip
    for config in (tmp_path / "a").rglob("adapter_config.json"):
        found = json.loads(config.read_text())
        found["base_model_name_or_path"] = "org/base"
        config.write_text(json.dumps(found))
    spectra.merge(
        tmp_path / "a", out, method="task-arithmetic", lam=0.5, mergekit=path
    )
    config = yaml.safe_load(path.read_text())
    assert config["base_model"] == {"model": {"path": "org/base"}}
    assert [m["model"] for m in config["models"]] == [
        {
            "model": {"path": "org/base"},
            "lora": {"path": str(tmp_path / "a" / name)},
        }
        for name in ("a00", "a01")
    ]


def test_the_document_is_explained(tmp_path):
    population(tmp_path)
    done = spectra.merge(
        tmp_path / "p", tmp_path / "out", method="mean", base=tmp_path / "base"
    )
    found = done.document
    keys = {*found, *done.layers[0], *found["models"][0], *found["kept"][0]}
    pages = "".join(path.read_text("utf-8") for path in PAGES)
    assert keys <= set(re.findall(r"`(\w+)`", pages))


def test_the_page_says_which_methods_need_a_base_and_which_take_matrices():
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGES[1].read_text("utf-8").splitlines()
        if re.match(r"\| `.*needed \|", line)
    ]
    told = {
        name: (base == "needed", rest == "the same")
        for names, base, _, rest in rows
        for name in re.findall(r"`([\w-]+)`", names)
    }
    assert told == {
        name: (row.needs_base, not row.takes_maps)
        for name, row in FULL.items()
    }
