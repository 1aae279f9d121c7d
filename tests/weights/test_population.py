"""What a scan finds between members: duplicates, groups, wrappers."""

import json
import os
import time

import numpy as np
from safetensors.numpy import save_file

from spectra.weights.scan import scan
from tests.weights.files import file_of, member, zeros_file

# Duplicates.


def test_duplicates_are_equal_to_the_last_byte(tmp_path):
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((300, 400)).astype(np.float32)
    for name, place in (("a", None), ("b", 77_777), ("c", None), ("d", None)):
        values = weight.copy()
        if place:
            values.flat[place] += 1e-6
        member(tmp_path / name)
        save_file({"w": values}, tmp_path / name / "model.safetensors")
    os.link(
        tmp_path / "d" / "model.safetensors",
        tmp_path / "d" / "extra.safetensors",
    )
    catalog = scan([tmp_path])
    assert {model.id: model.duplicate_of for model in catalog.models} == {
        "a": None,
        "b": None,
        "c": "a",
        "d": "a",
    }


def test_adapters_of_another_scale_are_no_duplicates(tmp_path):
    for name, alpha in (("a", 8), ("b", 16), ("c", 8)):
        zeros_file(
            tmp_path / name / "adapter_model.safetensors",
            {
                "base_model.model.q.lora_A.weight": ("F32", (2, 5)),
                "base_model.model.q.lora_B.weight": ("F32", (7, 2)),
            },
        )
        (tmp_path / name / "adapter_config.json").write_text(
            json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": alpha})
        )
    models = scan([tmp_path]).models
    assert [model.duplicate_of for model in models] == [None, None, "a"]


# Architectures and prefixes.


def block(n, prefix="", **other):
    return {f"{prefix}l{i}.weight": ("F32", (3, 4)) for i in range(n)} | other


def test_architectures_are_connected_halves(tmp_path):
    member(tmp_path / "a", block(8))
    member(tmp_path / "b", block(4))
    wide = {f"x{i}.weight": ("F32", (5, 6)) for i in range(5)}
    member(tmp_path / "c", wide)
    # Holds 3 of b's 4 layers and all of c's, and comes after both.
    member(tmp_path / "d", block(3, **wide))
    member(tmp_path / "e", {"l0.weight": ("F32", (9, 9))})
    catalog = scan([tmp_path])
    members = [entry.members for entry in catalog.architectures]
    assert members == [("a", "b", "c", "d"), ("e",)]
    names = [key.name for key in catalog.architectures[0].layers]
    assert names == [
        *(f"l{i}" for i in range(4)),
        *(f"x{i}" for i in range(5)),
    ]
    for model in catalog.models:
        (home,) = [
            entry.id
            for entry in catalog.architectures
            if model.id in entry.members
        ]
        assert model.architecture == home


def test_architecture_ids_come_from_the_layers(tmp_path):
    for folder in ("p", "q"):
        for name in ("a", "b"):
            member(tmp_path / folder / name, block(3))
    member(tmp_path / "r" / "a", block(4))
    p, q, r = (
        scan([tmp_path / name]).architectures[0].id for name in ("p", "q", "r")
    )
    assert p == q != r
    assert p.startswith("dense-")
    assert len(p) == len("dense-3f2a91c0")


def test_an_unknown_wrapper_is_found(tmp_path):
    member(tmp_path / "a", block(6))
    member(tmp_path / "b", block(6, "net."))
    member(tmp_path / "c", block(6, "outer.net.", head=("F32", (2, 4))))
    member(tmp_path / "d", block(6, "encoder."))
    member(tmp_path / "e", block(3, "one.") | block(3, "two."))
    other = {f"net.l{i}.weight": ("F32", (4, 3)) for i in range(6)}
    member(tmp_path / "f", other)
    twice = block(6, "net.") | {"l0.weight": ("F32", (9, 9))}
    member(tmp_path / "g", twice)
    few = {f"net.y{i}.weight": ("F32", (7, 8)) for i in range(3)}
    member(tmp_path / "h", block(1, "net.") | few)
    catalog = scan([tmp_path])
    names = {
        model.id: {key.name for key, _ in model.layers}
        for model in catalog.models
    }
    plain = {f"l{i}" for i in range(6)}
    assert names["a"] == names["b"] == plain
    assert names["c"] == plain | {"head"}
    # A part of a model is no wrapper; nor is one of two halves; other shapes
    # are other layers; two layers never come to one name; and one layer that
    # meets another by chance does not rename the rest.
    assert names["d"] == {f"encoder.{name}" for name in plain}
    assert names["e"] == {
        f"{n}.l{i}" for n in ("one", "two") for i in range(3)
    }
    assert names["f"] == {f"net.{name}" for name in plain}
    assert names["h"] == {"net.l0", *(f"net.y{i}" for i in range(3))}
    assert names["g"] == {f"net.{name}" for name in plain} | {"l0"}


def test_a_checkpoint_does_not_rename_itself(tmp_path):
    member(tmp_path / "a", block(4, "x.") | block(4, "x.x."))
    names = {key.name for key, _ in scan([tmp_path]).models[0].layers}
    assert names == {f"{x}.l{i}" for x in ("x", "x.x") for i in range(4)}


def test_a_population_of_500_by_300_takes_seconds(tmp_path):
    tensors = {
        f"model.layers.{i}.mlp.proj.weight": ("F32", (2, 2))
        for i in range(300)
    }
    files = [
        file_of(tensors | {f"head{n}.weight": ("F32", (2, 3))})
        for n in range(50)
    ]
    for n in range(500):
        path = tmp_path / f"m{n}" / "model.safetensors"
        path.parent.mkdir()
        path.write_bytes(files[n % 50])
    start = time.process_time()
    catalog = scan([tmp_path])
    seconds = time.process_time() - start
    assert len(catalog.models) == 500
    assert len(catalog.architectures) == 1
    # 10 of each of 50 heads, all of zeros.
    assert sum(m.duplicate_of is not None for m in catalog.models) == 450
    assert seconds < 20


def test_many_unrelated_architectures_are_told_apart_quickly(tmp_path):
    for n in range(300):
        zeros_file(
            tmp_path / f"m{n}.safetensors",
            {f"l{i}.weight": ("F32", (2 + n, 2)) for i in range(20)},
        )
    start = time.process_time()
    assert len(scan([tmp_path]).architectures) == 300
    assert time.process_time() - start < 10
