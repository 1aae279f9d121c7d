import json
import os
import time
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from spectra.core.catalog import DenseSource, LowRankSource
from spectra.core.errors import UsageError
from spectra.weights.bytes import FileSource, read_bytes
from spectra.weights.catalog_file import write_catalog
from spectra.weights.limits import Limits
from spectra.weights.scan import scan
from tests.weights.files import member
from tests.weights.keys import key_list


def ids(catalog):
    return [model.id for model in catalog.models]


def layer_sets(catalog):
    """Return how many members have each exact set of layers."""
    counts = {}
    for model in catalog.models:
        key = tuple(key for key, _ in model.layers)
        counts[key] = counts.get(key, 0) + 1
    return sorted(counts.values(), reverse=True)


# Known truths of real populations, from their makers' papers.


def test_ani(populations):
    catalog = scan([populations / "ani"])
    assert len(catalog.models) == 16
    (architecture,) = catalog.architectures
    assert len(architecture.members) == 16
    # Four element networks of four layers, the last of one output.
    assert len(architecture.layers) == 12
    assert {key.kind for key in architecture.layers} == {"dense"}
    assert not catalog.quarantine
    claims = {model.id: model.base_claim for model in catalog.models}
    assert claims["ani-1ccx_8x-3"] == "ani-1x_8x-3"
    assert claims["ani-1x_8x-3"] is None
    assert {model.license for model in catalog.models} == {"mit"}


def test_jeffy(populations):
    catalog = scan([populations / "jeffy-massive"])
    assert len(catalog.models) == 51
    (architecture,) = catalog.architectures
    assert [key.shape for key in architecture.layers] == [(59, 384)]


def test_sceptr_s_near_misses(populations):
    catalog = scan([populations / "sceptr"])
    assert len(catalog.models) == 16
    # 7 share one set of shapes, 2 + 2 another, 5 stand alone.
    assert layer_sets(catalog) == [7, 2, 2, 1, 1, 1, 1, 1]
    # Those whose embedding alone has another width share 14 of 16 layers
    # with the seven; small, tiny, large and left-aligned share next to none.
    sizes = [len(entry.members) for entry in catalog.architectures]
    assert sorted(sizes) == [1, 1, 1, 1, 12]
    alone = {
        entry.members[0]
        for entry in catalog.architectures
        if len(entry.members) == 1
    }
    assert alone == {
        "SCEPTR_large",
        "SCEPTR_left_aligned",
        "SCEPTR_small",
        "SCEPTR_tiny",
    }
    # A layer of another shape is another layer.
    (group,) = [e for e in catalog.architectures if len(e.members) == 12]
    holders = {
        key.shape: sum(
            model.source(key) is not None for model in catalog.models
        )
        for key in group.layers
        if key.name.endswith("_initial_projector")
    }
    assert sorted(holders.values()) == [2, 2, 7]


def test_chgnet(populations):
    catalog = scan([populations / "chgnet"])
    assert layer_sets(catalog) == [2, 1]
    assert not catalog.quarantine


@pytest.mark.parametrize(
    ("name", "count"), [("minilm-lora", 8), ("minilm-lora-same-seed", 6)]
)
def test_minilm_lora(populations, name, count):
    catalog = scan([populations / name])
    (architecture,) = catalog.architectures
    assert len(architecture.members) == count
    assert {(key.shape, key.kind) for key in architecture.layers} == {
        ((384, 384), "low-rank")
    }
    assert [key.name for key in architecture.layers] == sorted(
        key_list("minilm-lora")["expect"]
    )
    for model in catalog.models:
        assert {source.scale for _, source in model.layers} == {2.0}
        assert model.base_claim == "sentence-transformers/all-MiniLM-L6-v2"


def test_all_populations_at_once(populations):
    catalog = scan(sorted(populations.iterdir()))
    assert len(catalog.models) == 16 + 51 + 16 + 3 + 8 + 6
    names = ids(catalog)
    assert len(set(names)) == len(names)
    # Six tasks were trained twice, in two folders with one name each.
    twice = [name for name in names if name.endswith("000-devel-library")]
    assert sorted(twice) == [
        "minilm-lora-same-seed/minilm-lora-000-devel-library",
        "minilm-lora/minilm-lora-000-devel-library",
    ]
    assert not any(model.duplicate_of for model in catalog.models)


# What a catalogue refers to is what is there.


def test_references_lead_to_the_bytes(tmp_path):
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((5, 7)).astype(ml_dtypes.bfloat16)
    A, B = (rng.standard_normal(s).astype("f4") for s in ((2, 7), (5, 2)))
    member(tmp_path / "full")
    save_file({"q.weight": weight}, tmp_path / "full" / "model.safetensors")
    (tmp_path / "lora").mkdir()
    save_file(
        {
            f"base_model.model.q.lora_{s}.weight": f
            for s, f in zip("AB", (A, B), strict=True)
        },
        tmp_path / "lora" / "adapter_model.safetensors",
    )
    (tmp_path / "lora" / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 8})
    )
    full, lora = scan([tmp_path]).models
    ((key, dense),) = full.layers
    ((other, low_rank),) = lora.layers
    assert isinstance(dense, DenseSource)
    assert isinstance(low_rank, LowRankSource)
    assert (key.name, key.shape) == (other.name, other.shape) == ("q", (5, 7))
    assert low_rank.scale == 4.0
    for ref, array in (
        (dense.weight, weight),
        (low_rank.A, A),
        (low_rank.B, B),
    ):
        with FileSource(ref.file) as source:
            raw = read_bytes(source, ref.start, ref.nbytes)
        assert raw == array.tobytes()
        assert ref.shape == array.shape


def test_a_broken_file_is_set_aside_and_the_rest_goes_on(tmp_path):
    for name in "abc":
        member(tmp_path / name)
    (tmp_path / "b" / "model.safetensors").write_bytes(b"<html>")
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "pytorch_model.bin").write_bytes(b"\x80\x02")
    member(tmp_path / "v", {"v": ("F32", (3,))})
    member(tmp_path / "z", quantization_config={"bits": 4})
    catalog = scan([tmp_path])
    assert ids(catalog) == ["a", "c"]
    assert [(q.id, q.layer, q.code) for q in catalog.quarantine] == [
        ("b", None, "NOT_SAFETENSORS"),
        ("p", None, "PICKLE_REFUSED"),
        ("v", None, "NO_LAYERS"),
        ("z", None, "QUANTISED"),
    ]


def test_a28_a_layer_over_a_limit_is_recorded(tmp_path):
    member(tmp_path / "m", {"w": ("F32", (30, 40)), "x": ("F32", (3, 4))})
    catalog = scan([tmp_path], limits=Limits(min_side=20))
    assert [key.name for key, _ in catalog.models[0].layers] == ["x"]
    (entry,) = catalog.quarantine
    assert (entry.id, entry.layer, entry.code) == ("m", "w", "LIMIT_DIM")


def test_a28_an_honest_giant_is_not_read(tmp_path):
    # 20 GiB of nothing, as a hole in the file.
    raw = json.dumps(
        {
            "w": {
                "dtype": "F32",
                "shape": [2**20, 5 * 2**10],
                "data_offsets": [0, 20 * 2**30],
            },
            "x": {
                "dtype": "F32",
                "shape": [2, 2],
                "data_offsets": [20 * 2**30, 20 * 2**30 + 16],
            },
        }
    ).encode()
    path = tmp_path / "m" / "model.safetensors"
    path.parent.mkdir()
    with path.open("wb") as file:
        file.write(len(raw).to_bytes(8, "little") + raw)
        file.truncate(8 + len(raw) + 20 * 2**30 + 16)
    start = time.process_time()
    catalog = scan([tmp_path])
    assert time.process_time() - start < 1
    assert [entry.code for entry in catalog.quarantine] == [
        "LIMIT_TENSOR_BYTES"
    ]
    assert [key.name for key, _ in catalog.models[0].layers] == ["x"]


# Ids, selection, order.


def test_ids_say_as_much_as_they_must(tmp_path):
    for name in ("p/x/m", "p/y/m", "p/n", "q/x/m"):
        member(tmp_path / name)
    catalog = scan([tmp_path / "p", tmp_path / "q"])
    assert ids(catalog) == ["n", "p/x/m", "q/x/m", "y/m"]
    again = scan([tmp_path / "p", tmp_path / "q"])
    assert again == catalog


def test_ids_of_what_only_paths_tell_apart(tmp_path):
    for name in ("a/m", "b/m", "c/m~2"):
        member(tmp_path / name)
    catalog = scan([tmp_path / "a/m", tmp_path / "b/m", tmp_path / "c/m~2"])
    assert ids(catalog) == ["m", "m~2", "m~3"]
    paths = {
        model.id: Path(model.path).parent.name for model in catalog.models
    }
    assert paths == {"m": "a", "m~3": "b", "m~2": "c"}


def test_a_path_that_is_named_twice_is_one_member(tmp_path):
    member(tmp_path / "m")
    (tmp_path / "list.txt").write_text("m\n")
    sources = [tmp_path, tmp_path / "m", f"@{tmp_path}/list.txt"]
    assert ids(scan(sources)) == ["m"]


def test_match_and_limit(tmp_path):
    for name in ("a1", "a2", "b1"):
        member(tmp_path / name)
    assert ids(scan([tmp_path], match=["a*", "b?"])) == ["a1", "a2", "b1"]
    assert ids(scan([tmp_path], match=["a*"], limit=1)) == ["a1"]
    assert ids(scan([tmp_path], limit=2)) == ["a1", "a2"]
    assert ids(scan([tmp_path], match=["zzz"])) == []


def test_events_count_every_member(tmp_path):
    member(tmp_path / "a")
    member(tmp_path / "b")
    (tmp_path / "b" / "model.safetensors").write_bytes(b"")
    events = []
    scan([tmp_path], on_event=events.append)
    assert [(e.stage, e.done, e.total, e.subject) for e in events] == [
        ("scan", 1, 2, "a"),
        ("scan", 2, 2, "b"),
    ]


def test_a_source_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match="neither"):
        scan([tmp_path / "absent"])


# Claims.


@pytest.mark.parametrize(
    ("card", "licence", "base"),
    [
        ("---\nlicense: mit\nbase_model: org/b\n---\ntext", "mit", "org/b"),
        ("---\nbase_model:\n- org/b\n- org/c\n---\n", "config", "org/b"),
        ("---\nbase_model: [org/b, org/c]\n---\n", "config", "org/b"),
        ("---\nlicense: 'mit' # x\n---\n", "mit", "org/config"),
        ('---\nbase_model: "org/b"\n---\n', "config", "org/b"),
        ("---\nbase_model: /data/x/model\n---\n", "config", "org/config"),
        ("---\ntags:\n- a\nlicense: null\n---\n", "config", "org/config"),
        ("license: mit\n", "config", "org/config"),
        ("---\nx:\n  license: mit\n---\n", "config", "org/config"),
        ("---\na: 1\n---\nlicense: mit\n", "config", "org/config"),
        ("---\nlicense: !!python/object:os.system x\n---\n", "config", None),
        ("\x00\xff", "config", "org/config"),
    ],
)
def test_claims(tmp_path, card, licence, base):
    folder = member(tmp_path / "m", license="config", base_model="org/config")
    (folder / "README.md").write_text(card, encoding="latin-1")
    (model,) = scan([tmp_path]).models
    if "python" in card:
        # It is text that somebody wrote there, and nothing is done with it.
        assert model.license.startswith("!!python")
    else:
        assert (model.license, model.base_claim) == (licence, base)


def test_a27_a_giant_card_costs_64_kib(tmp_path):
    folder = member(tmp_path / "m")
    late = "---\n" + "x: y\n" * 2**20 + "license: mit\n---\n"
    (folder / "README.md").write_text(late)
    start = time.process_time()
    assert scan([tmp_path]).models[0].license is None
    assert time.process_time() - start < 1


# Catalogues as sources.


def test_a_catalogue_is_a_source(tmp_path):
    for name in ("a", "b"):
        member(tmp_path / "p" / name)
    (tmp_path / "p" / "c").mkdir()
    (tmp_path / "p" / "c" / "weights.bin").write_bytes(b"x")
    catalog = scan([tmp_path / "p"])
    path = tmp_path / "catalog.jsonl"
    write_catalog(catalog, path)
    again = scan([path])
    assert again.models == catalog.models
    assert again.quarantine == catalog.quarantine
    member(tmp_path / "q" / "a")
    assert ids(scan([path, tmp_path / "q"])) == ["a", "b", "q/a"]
    os.utime(tmp_path / "p" / "a" / "model.safetensors", ns=(1, 1))
    changed = scan([path])
    assert ids(changed) == ["b"]
    assert [(q.id, q.code) for q in changed.quarantine] == [
        ("a", "SOURCE_CHANGED"),
        ("c", "PICKLE_REFUSED"),
    ]
