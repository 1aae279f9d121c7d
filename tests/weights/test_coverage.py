"""Every tensor of every checkpoint ends in one way, and only one."""

import json
import struct
from collections import Counter

import numpy as np
import pytest
from safetensors.numpy import save_file

import spectra
from spectra.core.catalog import Quarantined
from spectra.weights.catalog_file import catalog_json, write_catalog
from spectra.weights.coverage import (
    coverage,
    coverage_by_kind,
    coverage_counts,
)
from spectra.weights.limits import Limits
from spectra.weights.scan import scan
from tests.weights.files import built, entry, member, zeros_file

POPULATIONS = (
    "ani", "chgnet", "jeffy-massive", "minilm-lora", "minilm-lora-same-seed",
    "sceptr",
)  # fmt: skip


def names_in(path):
    """Return the tensors of a safetensors file by its own words."""
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    return json.loads(raw[8 : 8 + length]).keys() - {"__metadata__"}


def rows_of(catalog):
    return {
        (row["id"], row["tensor"]): (row["status"], row["reason"])
        for row in coverage(catalog)
    }


@pytest.mark.parametrize("name", POPULATIONS)
def test_each_tensor_of_a_population_has_one_status(populations, name):
    catalog = spectra.scan(populations / name)
    rows = catalog.coverage()
    times = Counter((row["id"], row["tensor"]) for row in rows)
    assert set(times.values()) == {1}
    assert set(times) == {
        (file.parent.name, tensor)
        for file in (populations / name).glob("*/*.safetensors")
        for tensor in names_in(file)
    }
    for row in rows:
        assert row.keys() == {"id", "tensor", "status", "reason"}
        assert (row["status"] == "analysed") == (row["reason"] is None)
    # And what is analysed is what the layers are read from.
    analysed = {
        (row["id"], row["tensor"])
        for row in rows
        if row["status"] == "analysed"
    }
    assert analysed == {
        (model.id, ref.name)
        for model in catalog.value.models
        for _, source in model.layers
        for ref in source.tensors
    }


@pytest.fixture
def mixed(tmp_path):
    """A checkpoint of every kind of tensor, and others that are broken."""
    member(
        tmp_path / "m",
        {
            "transformer.h.0.mlp.c_fc.weight": ("F32", (3, 12)),
            "blocks.0.attn.qkv.weight": ("F32", (12, 4)),
            "head.kernel": ("F32", (3, 5)),
            "norm.weight": ("F32", (4,)),
            "steps": ("I64", (2, 2)),
            "embeddings.position_ids": ("I64", (1, 9)),
            "wide.weight": ("F32", (30, 40)),
            "long.weight": ("F32", (3, 500)),
        },
    )
    (tmp_path / "m" / "README.md").symlink_to("nowhere")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "model.safetensors").write_bytes(b"no")
    first = member(tmp_path / "cut", {"a": ("F32", (3, 4))})
    (first / "model.safetensors").rename(
        first / "model-00001-of-00002.safetensors"
    )
    (first / "config.json").write_text("[]")
    limits = Limits(min_side=20, tensor_bytes=5000)
    return scan([tmp_path], limits=limits)


def test_what_is_analysed_skipped_and_refused(mixed):
    found = rows_of(mixed)
    assert found == {
        ("m", "transformer.h.0.mlp.c_fc.weight"): ("analysed", None),
        # One tensor, three layers.
        ("m", "blocks.0.attn.qkv.weight"): ("analysed", None),
        ("m", "head.kernel"): ("analysed", None),
        ("m", "norm.weight"): ("skipped", "SKIP_NOT_MATRIX"),
        ("m", "steps"): ("skipped", "SKIP_INTEGER"),
        ("m", "embeddings.position_ids"): ("skipped", "SKIP_BOOKKEEPING"),
        ("m", "wide.weight"): ("refused", "LIMIT_DIM"),
        ("m", "long.weight"): ("refused", "LIMIT_TENSOR_BYTES"),
        ("broken", None): ("refused", "ST_PREFIX"),
        ("cut", "a"): ("analysed", None),
        ("cut", None): ("refused", "SHARD_MISSING"),
    }
    assert len(coverage(mixed)) == len(found)
    codes = {(q.id, q.code) for q in mixed.quarantine}
    assert ("cut", "CONFIG_UNREADABLE") in codes
    told = {"LIMIT_DIM", "LIMIT_TENSOR_BYTES", "CARD_UNREADABLE"}
    assert {("m", code) for code in told} < codes


def test_counts_are_those_of_the_rows(mixed):
    models = {model.id: model for model in mixed.models}
    assert coverage_counts(models["m"]) == {
        "analysed": 3,
        "transposed": 2,
        "skipped": {
            "SKIP_BOOKKEEPING": 1,
            "SKIP_INTEGER": 1,
            "SKIP_NOT_MATRIX": 1,
        },
        "refused": {"LIMIT_DIM": 1, "LIMIT_TENSOR_BYTES": 1},
    }
    assert coverage_counts(models["cut"]) == {
        "analysed": 1,
        "transposed": 0,
        "skipped": {},
        "refused": {},
    }


def test_a_fused_tensor_that_is_refused_counts_once(tmp_path):
    tensors = {"blocks.0.attn.qkv.weight": ("F32", (90, 30))}
    member(tmp_path / "m", tensors | {"w": ("F32", (3, 4))})
    catalog = scan([tmp_path], limits=Limits(min_side=20))
    assert len(catalog.quarantine) == 3
    assert Counter(row["status"] for row in coverage(catalog)) == {
        "analysed": 1,
        "refused": 1,
    }


def test_a_fused_tensor_of_which_a_part_is_refused_is_refused(tmp_path):
    """Of one head of keys beside four of queries, 32 rows are over 20."""
    tensors = {"layers.0.self_attn.qkv_proj.weight": ("F32", (48, 40))}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 1}
    member(tmp_path / "m", tensors, model_type="phi3", **heads)
    catalog = scan([tmp_path], limits=Limits(min_side=20))
    (model,) = catalog.models
    assert len(model.layers) == 2
    assert rows_of(catalog) == {
        ("m", "layers.0.self_attn.qkv_proj.weight"): ("refused", "LIMIT_DIM")
    }


def test_adapters_alphas_and_what_was_saved_beside_them(tmp_path):
    zeros_file(
        tmp_path / "a" / "adapter_model.safetensors",
        {
            "base_model.model.q.lora_A.weight": ("F32", (2, 5)),
            "base_model.model.q.lora_B.weight": ("F32", (7, 2)),
            "base_model.model.score.weight": ("F32", (30, 40)),
            "base_model.model.head.weight": ("F32", (3, 5)),
            "base_model.model.head.bias": ("F32", (3,)),
        },
    )
    (tmp_path / "a" / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 4})
    )
    catalog = scan([tmp_path / "a"], limits=Limits(min_side=20))
    statuses = {
        tensor.removeprefix("base_model.model."): found
        for (_, tensor), found in rows_of(catalog).items()
    }
    assert statuses == {
        "q.lora_A.weight": ("analysed", None),
        "q.lora_B.weight": ("analysed", None),
        "head.weight": ("analysed", None),
        "head.bias": ("skipped", "SKIP_NOT_UPDATE"),
        "score.weight": ("refused", "LIMIT_DIM"),
    }


def test_the_catalogue_and_scan_count_them(mixed, tmp_path):
    path = tmp_path / "catalog.jsonl"
    write_catalog(mixed, path)
    counts = {model.id: coverage_counts(model) for model in mixed.models}
    written = [json.loads(line) for line in path.read_text().splitlines()]
    records = [r for r in written if r.get("record") == "model"]
    assert {r["id"]: r["coverage"] for r in records} == counts
    printed = json.loads(json.dumps(catalog_json(mixed)))["models"]
    assert {r["id"]: r["coverage"] for r in printed} == counts
    assert coverage(scan([path])) == coverage(mixed)


def test_two_tensors_of_one_place_are_refused(tmp_path):
    """So ties are never in the header, as where a pickle shares a storage."""
    header = {
        "lm_head.weight": entry("F32", [3, 4], 0, 48),
        "embed_tokens.weight": entry("F32", [3, 4], 0, 48),
    }
    (tmp_path / "m").mkdir()
    content = built(header, bytes(48))
    (tmp_path / "m" / "model.safetensors").write_bytes(content)
    (refused,) = scan([tmp_path]).quarantine
    assert refused.code == "ST_OFFSETS"


def counted(rows):
    """Return numbers of tensors by kind, status and reason."""
    keys = ("kind", "status", "reason")
    return {tuple(row[k] for k in keys): row["n_tensors"] for row in rows}


def test_kinds_count_every_tensor_once(mixed):
    rows = coverage_by_kind(mixed)
    assert counted(rows) == {
        ("attention, several in one", "analysed", None): 1,
        ("mlp", "analysed", None): 1,
        ("embedding", "skipped", "SKIP_BOOKKEEPING"): 1,
        ("norm", "skipped", "SKIP_NOT_MATRIX"): 1,
        ("other", "analysed", None): 2,
        ("other", "refused", "LIMIT_DIM"): 1,
        ("other", "refused", "LIMIT_TENSOR_BYTES"): 1,
        ("other", "skipped", "SKIP_INTEGER"): 1,
    }
    assert rows[0]["example"] == "blocks.0.attn.qkv.weight"
    of_tensors = Counter(
        row["status"] for row in coverage(mixed) if row["tensor"]
    )
    assert of_tensors == Counter(
        row["status"] for row in rows for _ in range(row["n_tensors"])
    )


def test_what_a_fit_sets_aside_is_not_analysed(mixed):
    def of(**told):
        return {
            (status, reason): n
            for (kind, status, reason), n in counted(
                coverage_by_kind(mixed, **told)
            ).items()
            if kind == "attention, several in one"
        }

    part = "blocks.0.attn.q"
    names = {key.name for m in mixed.models for key, _ in m.layers}
    assert part in names
    of_part, of_all = [
        Quarantined(whose, part, "NAN", "") for whose in ("m", "all")
    ]
    for each in (of_part, of_all):
        assert of(refused=[each]) == {("refused", "NAN"): 1}
    other = Quarantined("cut", part, "NAN", "")
    assert of(refused=[other]) == {("analysed", None): 1}
    # Of three layers one is not compared: the tensor is read all the same.
    alone = Quarantined("", part, "TOO_FEW_MEMBERS", "")
    assert of(left_out=[alone]) == {("analysed", None): 1}
    whole = Quarantined("m", None, "ALONE", "")
    assert of(left_out=[whole]) == {("skipped", "ALONE"): 1}
    # What is said of a checkpoint's card is said of no tensor.
    card = Quarantined("m", None, "CARD_UNREADABLE", "")
    assert of(refused=[card]) == {("analysed", None): 1}
    assert of(layers=["*.q"]) == {("analysed", None): 1}
    assert of(layers=["head"]) == {("skipped", "NOT_ASKED_FOR"): 1}


def test_a_report_says_what_became_of_tensors(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(4):
        weights = {
            f"h.{b}.attn.q_proj.weight": rng.standard_normal((12, 10))
            for b in range(2)
        } | {"norm.weight": np.ones(12), "wte.weight": np.zeros((9, 12))}
        if i == 3:
            weights["h.1.attn.q_proj.weight"][0, 0] = np.nan
        (tmp_path / "pop" / f"m{i}").mkdir(parents=True)
        save_file(weights, tmp_path / "pop" / f"m{i}" / "model.safetensors")
    catalog = spectra.scan(tmp_path / "pop")
    expected = {
        ("attention query", "analysed", None): 7,
        ("attention query", "refused", "NONFINITE"): 1,
        ("embedding", "skipped", "NOT_ASKED_FOR"): 4,
        ("norm", "skipped", "SKIP_NOT_MATRIX"): 4,
    }
    for out in (None, tmp_path / "run.h5"):
        run = spectra.fit(catalog, out, layers=["h.*"])
        document = spectra.overlap(run).document
        assert counted(document["coverage"]) == expected
    stored = spectra.OverlapReport.stored(spectra.load(tmp_path / "run.h5"))
    assert stored.document == document
