import json
import os

import pytest

from spectra.core.errors import Quarantine
from spectra.weights.folders import open_folder
from spectra.weights.formats import FORMATS, read_checkpoint
from spectra.weights.limits import Limits
from tests.weights.files import file_of, zeros_file

W = {"w": ("F32", (3, 4))}


def read(path, **limits):
    root = path.resolve()
    folder = open_folder(root, root=root)
    return read_checkpoint(folder, limits=Limits(**limits))


def code(path, **limits):
    with pytest.raises(Quarantine) as caught:
        read(path, **limits)
    return caught.value.code


def index(folder, weight_map, name="model.safetensors.index.json"):
    folder.mkdir(exist_ok=True)
    content = (
        weight_map
        if isinstance(weight_map, str)
        else json.dumps(
            {"metadata": {"total_size": 1}, "weight_map": weight_map}
        )
    )
    (folder / name).write_text(content)


@pytest.fixture
def sharded(tmp_path):
    """Two sound shards, with their index."""
    zeros_file(tmp_path / "s1.safetensors", {"a": ("F32", (3, 4))})
    zeros_file(tmp_path / "s2.safetensors", {"b": ("F32", (5, 6))})
    index(tmp_path, {"a": "s1.safetensors", "b": "s2.safetensors"})
    return tmp_path


def test_the_last_format_claims_every_folder(tmp_path):
    assert len({row.name for row in FORMATS}) == len(FORMATS)
    assert code(tmp_path) == "NO_WEIGHTS"


@pytest.mark.parametrize("name", ["model.safetensors", "odd.safetensors"])
def test_one_file(tmp_path, name):
    zeros_file(tmp_path / name, W, {"format": "pt"})
    (tmp_path / "config.json").write_text('{"model_type": "x"}')
    raw = read(tmp_path)
    assert [ref.name for ref in raw.tensors] == ["w"]
    assert raw.config == {"model_type": "x"}
    assert raw.metadata == {"format": "pt"}
    (file,) = raw.files
    status = (tmp_path / name).stat()
    assert (file.nbytes, file.mtime_ns) == (
        status.st_size,
        status.st_mtime_ns,
    )
    assert file.path == str(tmp_path.resolve() / name)


def test_shards(sharded):
    raw = read(sharded)
    assert {ref.name: ref.shape for ref in raw.tensors} == {
        "a": (3, 4),
        "b": (5, 6),
    }
    assert len(raw.files) == 2
    assert not raw.faults


def test_a_whole_file_beside_its_shards_is_read_once(sharded):
    both = {"a": ("F32", (3, 4)), "b": ("F32", (5, 6))}
    zeros_file(sharded / "model.safetensors", both)
    raw = read(sharded)
    assert len(raw.files) == 1
    assert len(raw.tensors) == 2


def test_numbered_shards_without_an_index(tmp_path):
    for n in (1, 2):
        name = f"model-{n:05}-of-00002.safetensors"
        zeros_file(tmp_path / name, {f"w{n}": ("F32", (3, 4))})
    assert [ref.name for ref in read(tmp_path).tensors] == ["w1", "w2"]
    (tmp_path / "model-00001-of-00002.safetensors").unlink()
    (fault,) = read(tmp_path).faults
    assert fault.code == "SHARD_MISSING"


def test_a21_numbered_shards_that_hold_one_tensor_twice(tmp_path):
    for n in (1, 2):
        name = f"model-{n:05}-of-00002.safetensors"
        zeros_file(tmp_path / name, W | {f"w{n}": ("F32", (3, 4))})
    raw = read(tmp_path)
    assert [ref.name for ref in raw.tensors] == ["w", "w1"]
    assert [fault.code for fault in raw.faults] == ["INDEX_MISMATCH"]


@pytest.mark.parametrize(
    "shard",
    [
        "../s1.safetensors",
        "/etc/s1.safetensors",
        "a/../s1.safetensors",
        "./s1.safetensors",
        "a//s1.safetensors",
        "..",
        "",
        "a/",
        "https://host/s1.safetensors",
        "C:s1.safetensors",
        "..\\s1.safetensors",
        "%2e%2e/s1.safetensors",
        "a%2Fs1.safetensors",
        "a%5cs1.safetensors",
        "s1\n.safetensors",
        "s1\0.safetensors",
    ],
)
def test_a20_a_path_that_leads_away(sharded, shard):
    index(sharded, {"a": shard, "b": "s2.safetensors"})
    assert code(sharded) == "INDEX_PATH"


@pytest.mark.parametrize(
    "shard", ["s3.safetensors", "S1.safetensors", "sub/s1.safetensors"]
)
def test_a20_a_shard_that_is_not_listed(sharded, shard):
    zeros_file(sharded / "sub" / "s1.safetensors", W)
    index(sharded, {"a": shard, "b": "s2.safetensors"})
    raw = read(sharded)
    assert [ref.name for ref in raw.tensors] == ["b"]
    assert [(f.part, f.code) for f in raw.faults] == [(shard, "SHARD_MISSING")]


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{}",
        '{"weight_map": []}',
        '{"weight_map": {}}',
        '{"weight_map": {"a": 1}}',
        '{"weight_map": {"a": "x", "a": "y"}}',
        '{"weight_map": {"a": NaN}}',
        "[" * 1000,
        "\ufeff{}",
        "",
    ],
)
def test_a20_an_index_that_is_no_index(sharded, content):
    index(sharded, content)
    assert code(sharded) == "INDEX_SCHEMA"


def test_a20_limits_of_the_index(sharded):
    assert code(sharded, shards=1) == "INDEX_LIMIT"
    assert code(sharded, index_bytes=20) == "INDEX_LIMIT"
    numbered = "model-00001-of-99999.safetensors"
    lone = zeros_file(sharded / "lone" / numbered, W).parent
    assert code(lone) == "INDEX_LIMIT"


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        ({"a": 1, "c": 1}, {"b": 1}, ["b"]),
        ({}, {"b": 1}, ["b"]),
        ({"a": 1}, {"b": 1, "a": 1}, ["a"]),
    ],
    ids=["shard-holds-more", "shard-holds-less", "tensor-in-two"],
)
def test_a21_index_and_shards_disagree(sharded, first, second, kept):
    for name, held in (("s1", first), ("s2", second)):
        tensors = dict.fromkeys(held, ("F32", (3, 4)))
        zeros_file(sharded / f"{name}.safetensors", tensors)
    raw = read(sharded)
    assert [ref.name for ref in raw.tensors] == kept
    assert [fault.code for fault in raw.faults] == ["INDEX_MISMATCH"]


def test_a21_a_broken_shard_does_not_take_the_others_along(sharded):
    (sharded / "s1.safetensors").write_bytes(b"version https://git-lfs...")
    raw = read(sharded)
    assert [ref.name for ref in raw.tensors] == ["b"]
    assert [fault.code for fault in raw.faults] == ["NOT_SAFETENSORS"]
    (sharded / "s2.safetensors").unlink()
    assert code(sharded) == "NOT_SAFETENSORS"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["pytorch_model.bin"], "PICKLE_REFUSED"),
        (["weights.pt", "model.gguf"], "PICKLE_REFUSED"),
        (["model.gguf"], "UNSUPPORTED_FORMAT"),
        (["tf_model.h5"], "UNSUPPORTED_FORMAT"),
        (["model.onnx"], "UNSUPPORTED_FORMAT"),
        (["config.json"], "NO_WEIGHTS"),
    ],
)
def test_a13_a18_folders_without_weights_that_we_read(
    tmp_path, names, expected
):
    for name in names:
        (tmp_path / name).write_bytes(b"\x80\x04cos\nsystem\n")
    with pytest.raises(Quarantine) as caught:
        read(tmp_path)
    assert caught.value.code == expected
    assert (expected != "PICKLE_REFUSED") or "convert" in caught.value.detail


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_a13_no_tensor(tmp_path, metadata):
    zeros_file(tmp_path / "model.safetensors", {}, metadata)
    assert code(tmp_path) == "EMPTY_MODEL"


@pytest.mark.parametrize("content", ["{", "[]", '{"a":1,"a":2}', "[" * 99])
def test_a27_a_bad_configuration_does_not_cost_the_weights(tmp_path, content):
    zeros_file(tmp_path / "model.safetensors", W)
    (tmp_path / "config.json").write_text(content)
    raw = read(tmp_path)
    assert [(f.part, f.code) for f in raw.faults] == [
        ("config.json", "CONFIG_UNREADABLE")
    ]
    assert len(raw.tensors) == 1
    (tmp_path / "config.json").write_text("{}" + " " * 2**20)
    assert [f.code for f in read(tmp_path).faults] == ["CONFIG_UNREADABLE"]


LORA = {
    "base_model.model.q.lora_A.weight": ("F32", (2, 5)),
    "base_model.model.q.lora_B.weight": ("F32", (7, 2)),
}
CONFIG = {"peft_type": "LORA", "r": 2, "lora_alpha": 4}


def test_an_adapter(tmp_path):
    zeros_file(tmp_path / "adapter_model.safetensors", LORA)
    assert code(tmp_path) == "ADAPTER_CONFIG"
    config = tmp_path / "adapter_config.json"
    for text in ("{", "[]", '{"r": NaN}', '{"r": 2, "r": 2}', "[" * 99):
        config.write_text(text)
        assert code(tmp_path) == "ADAPTER_CONFIG"
    config.write_text(json.dumps(CONFIG) + " " * 2**20)
    assert code(tmp_path) == "ADAPTER_CONFIG"
    config.write_text(json.dumps(CONFIG))
    raw = read(tmp_path)
    assert raw.adapter.scale_of("q") == 2.0
    assert len(raw.tensors) == 2
    (tmp_path / "adapter_model.safetensors").rename(tmp_path / "x.bin")
    assert code(tmp_path) == "PICKLE_REFUSED"


def test_a_pickled_adapter_is_told_what_to_become(tmp_path):
    (tmp_path / "adapter_config.json").write_text(json.dumps(CONFIG))
    for pickle, name in (
        ("adapter_model.bin", "adapter_model.safetensors"),
        ("pytorch_model.bin", "model.safetensors"),
    ):
        (tmp_path / pickle).write_bytes(b"\x80\x04cos\nsystem\n")
        with pytest.raises(Quarantine) as caught:
            read(tmp_path)
        assert caught.value.code == "PICKLE_REFUSED"
        assert f"'{name}'" in caught.value.detail
        (tmp_path / pickle).unlink()


def test_an_adapter_under_another_name(tmp_path):
    zeros_file(tmp_path / "my lora.safetensors", LORA)
    (tmp_path / "adapter_config.json").write_text(json.dumps(CONFIG))
    assert read(tmp_path).adapter.scale_of("q") == 2.0
    # With the configuration of a model, or with a choice, nothing is certain.
    (tmp_path / "config.json").write_text("{}")
    assert read(tmp_path).adapter is None
    (tmp_path / "config.json").unlink()
    zeros_file(tmp_path / "other.safetensors", LORA)
    assert code(tmp_path) == "UNSUPPORTED_FORMAT"
    zeros_file(tmp_path / "adapter_model.safetensors", LORA)
    assert read(tmp_path).adapter.rank == 2


def test_lora_of_diffusers_is_known_by_its_name(tmp_path):
    zeros_file(tmp_path / "pytorch_lora_weights.safetensors", LORA, {"a": "b"})
    zeros_file(tmp_path / "the same for kohya.safetensors", W)
    raw = read(tmp_path)
    assert raw.alpha_is_rank
    assert raw.metadata == {"a": "b"}
    assert len(raw.tensors) == 2


# Variants of full weights: fp16, non_ema.


@pytest.mark.parametrize("stem", ["model", "diffusion_pytorch_model"])
def test_the_plain_weights_are_taken_before_variants(tmp_path, stem):
    for variant in ("fp16", "non_ema"):
        zeros_file(tmp_path / f"{stem}.{variant}.safetensors", {})
    with pytest.raises(Quarantine, match=f"{stem}.fp16") as caught:
        read(tmp_path)
    assert caught.value.code == "UNSUPPORTED_FORMAT"
    zeros_file(tmp_path / f"{stem}.safetensors", W)
    assert [ref.name for ref in read(tmp_path).tensors] == ["w"]


def test_the_one_variant_is_taken(tmp_path):
    zeros_file(tmp_path / "diffusion_pytorch_model.fp16.safetensors", W)
    assert [ref.name for ref in read(tmp_path).tensors] == ["w"]


@pytest.mark.parametrize(
    "shard",
    ["model.fp16-{:05}-of-00002", "model-{:05}-of-00002.fp16"],
    ids=["now", "before"],
)
def test_shards_of_a_variant(tmp_path, shard):
    owners = {}
    for n in (1, 2):
        name = f"{shard.format(n)}.safetensors"
        zeros_file(tmp_path / name, {f"w{n}": ("F32", (3, 4))})
        owners[f"w{n}"] = name
    index(tmp_path, owners, "model.safetensors.index.fp16.json")
    assert [ref.name for ref in read(tmp_path).tensors] == ["w1", "w2"]
    index(tmp_path, owners, "model.safetensors.index.fp8.json")
    assert code(tmp_path) == "UNSUPPORTED_FORMAT"
    zeros_file(tmp_path / "plain.safetensors", W)
    index(tmp_path, {"w": "plain.safetensors"})
    assert [ref.name for ref in read(tmp_path).tensors] == ["w"]


def test_two_numbered_sets_without_an_index(tmp_path):
    for n, stem in enumerate(("model.fp16", "model.fp8", "model")):
        name = f"{stem}-00001-of-00001.safetensors"
        zeros_file(tmp_path / name, {f"w{n}": ("F32", (3, 4))})
        if n == 1:
            assert code(tmp_path) == "UNSUPPORTED_FORMAT"
    assert [ref.name for ref in read(tmp_path).tensors] == ["w2"]


def test_the_index_of_transformers_is_taken_before_others(tmp_path):
    for stem in ("consolidated", "original"):
        zeros_file(tmp_path / f"{stem}-1.safetensors", W)
        name = f"{stem}.safetensors.index.json"
        index(tmp_path, {"w": f"{stem}-1.safetensors"}, name)
    assert code(tmp_path) == "UNSUPPORTED_FORMAT"
    zeros_file(tmp_path / "s.safetensors", {"a": ("F32", (3, 4))})
    index(tmp_path, {"a": "s.safetensors"})
    assert [ref.name for ref in read(tmp_path).tensors] == ["a"]


def test_slices_of_tensors_are_no_shards(tmp_path):
    # Of consolidated.00 and .01 each holds a half of every tensor.
    for n in (0, 1):
        zeros_file(tmp_path / f"consolidated.{n:02}.safetensors", W)
    assert code(tmp_path) == "UNSUPPORTED_FORMAT"
    (tmp_path / "consolidated.01.safetensors").rename(
        tmp_path / "consolidated.safetensors"
    )
    (tmp_path / "consolidated.00.safetensors").unlink()
    assert len(read(tmp_path).tensors) == 1


def test_a22_links_stay_inside(tmp_path):
    outside = zeros_file(tmp_path / "outside" / "w.safetensors", W)
    inside = tmp_path / "root" / "model"
    zeros_file(tmp_path / "root" / "shared.safetensors", W)
    inside.mkdir()
    (inside / "model.safetensors").symlink_to("../shared.safetensors")
    root = (tmp_path / "root").resolve()
    folder = open_folder(root / "model", root=root)
    raw = read_checkpoint(folder, limits=Limits())
    assert raw.files[0].path == str(root / "shared.safetensors")
    (inside / "model.safetensors").unlink()
    (inside / "model.safetensors").symlink_to(outside)
    folder = open_folder(root / "model", root=root)
    with pytest.raises(Quarantine) as caught:
        read_checkpoint(folder, limits=Limits())
    assert caught.value.code == "SOURCE_OUTSIDE"
    assert "link" in caught.value.detail


@pytest.mark.parametrize("kind", ["fifo", "loop", "dangling"])
def test_a22_what_is_no_file(tmp_path, kind):
    path = tmp_path / "model.safetensors"
    if kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to(path if kind == "loop" else tmp_path / "absent")
    assert code(tmp_path) == "SOURCE_UNREADABLE"


def test_a22_twins_and_hard_links_are_files_like_others(tmp_path):
    (tmp_path / "A.safetensors").write_bytes(file_of(W))
    os.link(tmp_path / "A.safetensors", tmp_path / "B.safetensors")
    for name in ("A.safetensors", "B.safetensors"):
        folder = open_folder(tmp_path, root=tmp_path).only(name)
        assert len(read_checkpoint(folder, limits=Limits()).tensors) == 1
    assert code(tmp_path) == "UNSUPPORTED_FORMAT"
