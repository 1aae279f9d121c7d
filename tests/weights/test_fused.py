"""Queries, keys and values in one tensor: whose rows are whose."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from spectra.core.catalog import DenseSource
from spectra.core.tensors import TensorRef
from spectra.weights.families import read_families
from spectra.weights.fused import SIZES, parts
from spectra.weights.scan import scan
from spectra.weights.stream import DenseReader, TensorReader
from tests.checkpoints import DTYPES, stored
from tests.weights.keys import key_list, sort_keys

# A name that each row of architectures/fused.toml divides, and its parts.
EXAMPLES = {
    "blocks.3.attn.qkv.weight": ("blocks.3.attn", "q", "k", "v"),
    "layers.0.attn.Wqkv.weight": ("layers.0.attn", "q", "k", "v"),
    "self_attn.in_proj_weight": ("self_attn", "q_proj", "k_proj", "v_proj"),
    "layers.0.self_attn.qkv_proj.weight": (
        "layers.0.self_attn",
        "q_proj",
        "k_proj",
        "v_proj",
    ),
}
PHI3 = {
    "model_type": "phi3",
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
}


def names_and_shapes(keys, config):
    found = sort_keys(keys, config).layers
    return {key.name: key.shape for key, _ in found}


def test_each_row_has_an_example():
    rows = read_families().fused
    for row in rows:
        assert any(row.names.fullmatch(name) for name in EXAMPLES)
        assert row.sizes in SIZES
    assert len(rows) == len(EXAMPLES)
    assert {row.sizes for row in rows} == set(SIZES)


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("wrapper", ["", "visual.", "model."])
def test_parts_have_names_of_their_own(name, wrapper):
    place, *names = EXAMPLES[name]
    keys = {wrapper + name: ["F32", [24, 8]]}
    bare = wrapper if wrapper != "model." else ""
    assert names_and_shapes(keys, PHI3) == {
        f"{bare}{place}.{part}": (8, 8) for part in names
    }


@pytest.mark.parametrize(
    "name",
    [
        # Heads are interleaved.
        "h.0.attention.query_key_value.weight",
        "transformer.h.0.attn.qkv_proj.weight",
        "layers.0.self_attn.qkv_proj.weight",
        "stages.1.blocks.0.attn.qkv.weight",
        "stages.0.blocks.0.attn_block.attn.qkv.weight",
        "layers.0.attention.wqkv.weight",
        # The parts are columns.
        "h.0.attn.c_attn.weight",
        # No attention of a known kind.
        "mlp.qkv.weight",
        "in_proj.weight",
    ],
)
@pytest.mark.parametrize("model_type", [None, "codegen"])
def test_what_is_not_certain_stays_whole(name, model_type):
    keys = {name: ["F32", [24, 8]]}
    config = PHI3 | {"model_type": model_type}
    ((_, shape),) = names_and_shapes(keys, config).items()
    assert shape == (24, 8)


@pytest.mark.parametrize("shape", [[16, 8], [32, 8], [25, 8], [24, 8, 1, 1]])
def test_another_shape_stays_whole(shape):
    keys = {"blocks.0.attn.qkv.weight": ["F32", shape]}
    assert list(names_and_shapes(keys, {})) == ["blocks.0.attn.qkv"]


@pytest.mark.parametrize(
    ("change", "sizes"),
    [
        ({}, (8, 8, 8)),
        ({"num_key_value_heads": None}, (8, 8, 8)),
        ({"num_key_value_heads": 1}, (16, 4, 4)),
        ({"num_key_value_heads": 3}, ()),
        ({"num_key_value_heads": 5}, ()),
        ({"num_key_value_heads": 0}, (8, 8, 8)),
        ({"num_key_value_heads": -1}, ()),
        ({"num_attention_heads": None, "num_key_value_heads": 4}, ()),
        ({"num_attention_heads": "4"}, ()),
        ({"num_attention_heads": True, "num_key_value_heads": True}, ()),
        ({"num_attention_heads": 22, "num_key_value_heads": 1}, ()),
    ],
)
def test_sizes_by_heads(change, sizes):
    name = "layers.0.self_attn.qkv_proj.weight"
    found = names_and_shapes({name: ["F32", [24, 9]]}, PHI3 | change)
    expected = (
        dict(zip(("q_proj", "k_proj", "v_proj"), sizes, strict=True))
        if sizes
        else {"qkv_proj": 24}
    )
    assert found == {
        f"layers.0.self_attn.{part}": (rows, 9)
        for part, rows in expected.items()
    }


def test_names_that_are_taken_are_left():
    keys = {
        "blocks.0.attn.qkv.weight": ["F32", [24, 8]],
        "blocks.0.attn.k.weight": ["F32", [4, 8]],
    }
    assert names_and_shapes(keys, {}) == {
        "blocks.0.attn.qkv": (24, 8),
        "blocks.0.attn.k": (4, 8),
    }
    two = {
        f"blocks.0.attn.{name}.weight": ["F32", [24, 8]]
        for name in ("Wqkv", "qkv")
    }
    assert len(names_and_shapes(two, {})) == 4


@given(
    st.integers(2, 6),
    st.integers(0, 40),
    st.sampled_from(["F64", "F32", "F16", "BF16", "F8_E4M3"]),
)
def test_parts_are_the_whole_and_do_not_overlap(width, start, dtype):
    nbytes = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1}[dtype]
    stop = start + 3 * width * width * nbytes
    name = "in_proj_weight"
    ref = TensorRef("f", name, start, stop, dtype, (3 * width, width))
    found = [part for _, part in parts(name, ref, width, config={}, taken=())]
    assert [part.start for part in found] == [
        start,
        found[0].stop,
        found[1].stop,
    ]
    assert found[2].stop == stop
    for part in found:
        assert part.shape == (width, width)
        assert part.nbytes == part.size * nbytes
        assert (part.file, part.name, part.dtype) == ("f", name, dtype)


@pytest.mark.parametrize("dtype", ["F32", "BF16"])
def test_the_parts_that_are_read_are_the_rows(tmp_path, dtype):
    rng = np.random.default_rng(0)
    values = {}
    for member in "ab":
        (tmp_path / member).mkdir()
        values[member] = rng.standard_normal((24, 8))
        save_file(
            {
                "a.weight": rng.standard_normal((3, 5)).astype(DTYPES[dtype]),
                "blocks.0.attn.qkv.weight": values[member].astype(
                    DTYPES[dtype]
                ),
            },
            tmp_path / member / "model.safetensors",
        )
    catalog = scan([tmp_path])
    assert len(catalog.architectures[0].layers) == 4
    for model in catalog.models:
        tensors = TensorReader({file.path: file for file in model.files})
        whole = stored(values[model.id], dtype)
        for n, part in enumerate("qkv"):
            key, source = next(
                layer
                for layer in model.layers
                if layer[0].name == f"blocks.0.attn.{part}"
            )
            assert isinstance(source, DenseSource)
            reader = DenseReader(
                key.shape, (source,), None, np.float64, False, tensors
            )
            found = reader.matrix(reader.member(0).flat)
            np.testing.assert_array_equal(found, whole[8 * n : 8 * n + 8])
        # The whole tensor is read once.
        assert tensors.nbytes == 24 * 8 * {"F32": 4, "BF16": 2}[dtype]


def test_an_update_of_a_fused_map_is_divided_as_the_map_is():
    adapter = key_list("peft-timm-qkv")
    found = sort_keys(adapter["keys"], adapter["config"]).layers
    by_name = {key.name: (key, source) for key, source in found}
    q, k, v = (by_name[f"blocks.0.attn.{part}"][1] for part in "qkv")
    assert q.A == k.A == v.A
    assert (q.B.stop, k.B.stop) == (k.B.start, v.B.start)
    vit = key_list("timm-vit")["expect"]
    for name, (key, _) in by_name.items():
        assert vit[name] == list(key.shape)


def test_an_update_is_not_divided_into_names_that_are_taken():
    keys = {}
    for name, out in (("qkv", 24), ("k", 8)):
        module = f"base_model.model.blocks.0.attn.{name}"
        keys[f"{module}.lora_A.weight"] = ["F32", [2, 8]]
        keys[f"{module}.lora_B.weight"] = ["F32", [out, 2]]
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 2}
    assert names_and_shapes(keys, config) == {
        "blocks.0.attn.k": (8, 8),
        "blocks.0.attn.qkv": (24, 8),
    }
