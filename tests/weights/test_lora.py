"""Adapters as each tool writes them: layers, updates, scales, bytes."""

import json
from contextlib import contextmanager

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from spectra.core.catalog import LowRankSource
from spectra.core.errors import Quarantine
from spectra.core.tensors import TensorRef
from spectra.weights.bytes import FileSource, MemorySource
from spectra.weights.factors import sort_low_rank
from spectra.weights.folders import Folder, open_folder
from spectra.weights.formats import read_checkpoint
from spectra.weights.limits import Limits
from spectra.weights.lora import NAMINGS, naming_of
from spectra.weights.scalars import read_scalars
from spectra.weights.scan import scan
from spectra.weights.stream import TensorReader, read_low_rank
from tests.weights.keys import key_list, sort_keys

Q = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
OUT = Q.replace("to_q", "to_out.0")
CONV = "mid_block.resnets.0.conv1"
TEXT = "text_encoder.text_model.encoder.layers.0.self_attn.q_proj"
MODULES = (Q, OUT, CONV, TEXT)
RANK, ALPHA = 3, 6.0


def factors(rng, dtype=np.float32):
    """Return (A, B) of each module, as stored; one is a convolution."""
    shapes = dict.fromkeys(MODULES, ((RANK, 7), (5, RANK)))
    shapes[CONV] = ((RANK, 2, 3, 3), (5, RANK, 1, 1))
    return {
        name: tuple(rng.standard_normal(s).astype(dtype) for s in pair)
        for name, pair in shapes.items()
    }


def update(A, B, scale):
    """Return the update as a sum of outer products."""
    A, B = (np.asarray(F, np.float64).reshape(len(F), -1) for F in (A, B))
    return scale * sum(np.outer(B[:, k], A[k]) for k in range(len(A)))


def peft(folder, layers, alpha):
    tensors = {}
    for name, pair in layers.items():
        for side, factor in zip("AB", pair, strict=True):
            tensors[f"base_model.model.{name}.lora_{side}.weight"] = factor
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": alpha}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "adapter_model.safetensors")


def kohya(folder, layers, alpha, dtype=np.float32):
    tensors = {}
    for name, pair in layers.items():
        module = name.replace("text_encoder.", "te.").replace(".", "_")
        unet = "" if module.startswith("te_") else "unet_"
        module = f"lora_{unet}{module}"
        for side, factor in zip(("down", "up"), pair, strict=True):
            tensors[f"{module}.lora_{side}.weight"] = factor
        if alpha is not None:
            tensors[f"{module}.alpha"] = np.array(alpha, dtype)
    save_file(tensors, folder / "any name.safetensors")


def sgm(folder, layers, alpha):
    """As kohya, with the blocks of the published checkpoints."""
    kohya(folder, layers, alpha)
    path = folder / "any name.safetensors"
    raw = path.read_bytes()
    size = 8 + int.from_bytes(raw[:8], "little")
    header = raw[8:size].decode()
    for here, there in (
        ("down_blocks_1_attentions_0", "input_blocks_4_1"),
        ("mid_block_resnets_0_conv1", "middle_block_0_in_layers_2"),
    ):
        assert here in header
        header = header.replace(here, there)
    text = header.encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + raw[size:])


def diffusers(folder, layers, alpha):
    """With alphas, which its own loader takes too."""
    tensors = {}
    for name, pair in layers.items():
        module = name if name.startswith("text") else f"unet.{name}"
        for side, factor in zip("AB", pair, strict=True):
            tensors[f"{module}.lora_{side}.weight"] = factor
        if alpha is not None:
            tensors[f"{module}.alpha"] = np.array(alpha, np.float32)
    save_file(tensors, folder / "pytorch_lora_weights.safetensors")


WRITERS = {
    "PEFT": (peft,),
    "kohya": (kohya, sgm),
    "diffusers": (diffusers,),
}
EXAMPLES = {
    "PEFT": ("peft-plain", "peft-unet", "peft-timm-qkv", "minilm-lora"),
    "kohya": ("kohya-sd", "kohya-sdxl", "kohya-flux"),
    "diffusers": (
        "diffusers-sd",
        "diffusers-old",
        "diffusers-metadata",
        "diffusers-flux",
    ),
}
TABLE = [(row, write) for row in NAMINGS for write in WRITERS[row.name]]


def read(folder, opener=FileSource):
    root = folder.resolve()
    files = open_folder(root, root=root).files
    return read_checkpoint(Folder(files, opener=opener), limits=Limits())


def layers_of(raw, opener=FileSource):
    return sort_low_rank(raw, naming_of(raw), opener, limits=Limits()).layers


def scales(folder):
    return {
        source.scale
        for _, source in layers_of(read(folder))
        if isinstance(source, LowRankSource)
    }


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def code(call, *args):
    with pytest.raises(Quarantine) as caught:
        call(*args)
    return caught.value.code


# The table.


def test_each_row_has_examples():
    names = [row.name for row in NAMINGS]
    assert sorted(names) == sorted(set(names)) == sorted(EXAMPLES)
    assert sorted(names) == sorted(WRITERS)


@pytest.mark.parametrize("row", NAMINGS, ids=lambda row: row.name)
def test_a_row_reads_what_its_tool_writes(row):
    for name in EXAMPLES[row.name]:
        reference = key_list(name)
        found = sort_keys(
            reference["keys"],
            reference["config"],
            reference.get("alphas"),
            reference.get("metadata"),
        )
        assert {key.name: list(key.shape) for key, _ in found.layers} == (
            reference["expect"]
        )


@pytest.mark.parametrize(("row", "write"), TABLE)
def test_layers_of_two_members_meet_and_are_the_products(
    tmp_path, rng, row, write
):
    members = {name: factors(rng) for name in "ab"}
    for name, layers in members.items():
        (tmp_path / name).mkdir()
        write(tmp_path / name, layers, ALPHA)
        assert naming_of(read(tmp_path / name)) is row
    catalog = scan([tmp_path])
    (architecture,) = catalog.architectures
    assert {key.name for key in architecture.layers} == set(MODULES)
    assert not catalog.quarantine
    for model, layers in zip(catalog.models, members.values(), strict=True):
        reader = TensorReader({file.path: file for file in model.files})
        for key, source in model.layers:
            expected = update(*layers[key.name], ALPHA / RANK)
            assert expected.shape == key.shape
            found = read_low_rank(source, reader).rows(0, key.shape[0])
            np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_what_four_tools_call_differently_is_one_layer(tmp_path, rng):
    writers = [write for _, write in TABLE]
    for write in writers:
        folder = tmp_path / write.__name__
        folder.mkdir()
        write(folder, factors(rng), ALPHA)
    catalog = scan([tmp_path])
    (architecture,) = catalog.architectures
    assert len(architecture.members) == len(writers) == 4
    assert len(architecture.layers) == len(MODULES)


def test_full_weights_beside_updates_are_layers_of_their_own(tmp_path, rng):
    for name in "ab":
        folder = tmp_path / name
        folder.mkdir()
        peft(folder, factors(rng), ALPHA)
        path = folder / "adapter_model.safetensors"
        raw = read(folder)
        assert len(raw.tensors) == 2 * len(MODULES)
        tensors = {
            "base_model.model.head.weight": rng.standard_normal((4, 7)),
            "base_model.model.q.lora_A.weight": rng.standard_normal((3, 7)),
            "base_model.model.q.lora_B.weight": rng.standard_normal((5, 3)),
        }
        save_file(tensors, path)
    catalog = scan([tmp_path])
    (architecture,) = catalog.architectures
    assert [(key.name, key.kind) for key in architecture.layers] == [
        ("head", "dense"),
        ("q", "low-rank"),
    ]
    assert len(architecture.members) == 2


# Scales.


@pytest.mark.parametrize(
    ("dtype", "alpha"),
    [
        (np.float32, 0.1),
        (np.float16, 0.1),
        (ml_dtypes.bfloat16, 0.1),
        (np.float64, 0.1),
        (np.int64, 5),
        (np.uint8, 200),
    ],
)
def test_an_alpha_is_read_as_it_is_stored(tmp_path, rng, dtype, alpha):
    kohya(tmp_path, factors(rng), alpha, dtype)
    assert scales(tmp_path) == {float(np.array(alpha, dtype)) / RANK}


def test_an_alpha_may_be_a_vector_of_one(tmp_path, rng):
    kohya(tmp_path, factors(rng), [4.0])
    assert scales(tmp_path) == {4 / RANK}


@pytest.mark.parametrize("write", [kohya, diffusers])
def test_an_alpha_that_is_not_given_is_the_rank(tmp_path, rng, write):
    write(tmp_path, factors(rng), None)
    assert scales(tmp_path) == {1.0}


def test_the_name_of_a_file_says_what_no_alpha_means(tmp_path):
    factors = {
        "q.lora_A.weight": np.ones((2, 6), np.float32),
        "q.lora_B.weight": np.ones((5, 2), np.float32),
    }
    save_file(factors, tmp_path / "pytorch_lora_weights.safetensors")
    assert scales(tmp_path) == {1.0}
    (tmp_path / "pytorch_lora_weights.safetensors").rename(
        tmp_path / "other.safetensors"
    )
    assert code(scales, tmp_path) == "ADAPTER_CONFIG"


def test_each_module_has_its_own_alpha_and_rank():
    keys, alphas = {}, {}
    for n, (rank, alpha) in enumerate(((2, 1.0), (4, 1.0), (4, 8.0))):
        keys |= {
            f"lora_unet_x{n}.lora_down.weight": ["F32", [rank, 6]],
            f"lora_unet_x{n}.lora_up.weight": ["F32", [5, rank]],
            f"lora_unet_x{n}.alpha": ["F16", []],
        }
        alphas[f"lora_unet_x{n}.alpha"] = alpha
    found = sort_keys(keys, {}, alphas)
    assert [source.scale for _, source in found.layers] == [0.5, 0.25, 2.0]
    assert {entry.reason for entry in found.skipped} == {"SKIP_SCALE"}


@pytest.mark.parametrize(
    "alpha", [0.0, -1.0, np.nan, np.inf, 1e30, [1.0, 2.0], []]
)
def test_a25_an_impossible_alpha(tmp_path, rng, alpha):
    kohya(tmp_path, factors(rng), alpha)
    assert code(scales, tmp_path) == "ADAPTER_CONFIG"


def test_a25_an_alpha_alone():
    keys = {
        "lora_unet_x.lora_down.weight": ["F32", [2, 6]],
        "lora_unet_x.lora_up.weight": ["F32", [5, 2]],
        "lora_unet_y.alpha": ["F32", []],
    }
    assert code(sort_keys, keys, {}, {"lora_unet_y.alpha": 1.0}) == (
        "SHAPE_MISMATCH"
    )


def with_metadata(**fields):
    content = {f"unet.{name}": value for name, value in fields.items()}
    return {"lora_adapter_metadata": json.dumps(content)}


def pair(module="unet.mid_block.x", rank=2):
    return {
        f"{module}.lora_A.weight": ["F32", [rank, 6]],
        f"{module}.lora_B.weight": ["F32", [5, rank]],
    }


CONFIG = {"peft_type": "LORA", "r": 2, "lora_alpha": 8}


def test_metadata_says_the_scale_of_its_own_component():
    keys = pair() | pair("text_encoder.y", 4)
    found = sort_keys(keys, {}, metadata=with_metadata(**CONFIG))
    assert {key.name: source.scale for key, source in found.layers} == {
        "mid_block.x": 4.0,
        "text_encoder.y": 1.0,
    }


def test_metadata_of_one_model_alone_has_no_component():
    metadata = {"lora_adapter_metadata": json.dumps(CONFIG)}
    ((_, source),) = sort_keys(pair("x"), {}, metadata=metadata).layers
    assert source.scale == 4.0


def test_the_longest_beginning_holds():
    own = json.loads(
        with_metadata(**CONFIG | {"lora_alpha": 2})["lora_adapter_metadata"]
    )
    metadata = {"lora_adapter_metadata": json.dumps(CONFIG | own)}
    keys = pair() | pair("y")
    found = sort_keys(keys, {}, metadata=metadata).layers
    assert [source.scale for _, source in found] == [1.0, 4.0]


@pytest.mark.parametrize(
    "metadata",
    [
        with_metadata(**CONFIG | {"r": 3}),
        with_metadata(**CONFIG | {"use_dora": True}),
        with_metadata(r=2),
        {"lora_adapter_metadata": "{"},
        {"lora_adapter_metadata": "[]"},
        {"lora_adapter_metadata": '{"unet.r": 2, "unet.r": 4}'},
    ],
)
def test_a25_metadata_is_validated(metadata):
    assert code(sort_keys, pair(), {}, None, metadata) == "ADAPTER_CONFIG"


def test_a25_two_sources_of_one_scale():
    keys = pair() | {"unet.mid_block.x.alpha": ["F32", []]}
    alphas = {"unet.mid_block.x.alpha": 1.0}
    assert len(sort_keys(keys, {}, alphas).layers) == 1
    metadata = with_metadata(**CONFIG)
    assert code(sort_keys, keys, {}, alphas, metadata) == "ADAPTER_CONFIG"


# What a scan reads.


class Counting(FileSource):
    def __init__(self, path, *, pinned=None, log):
        super().__init__(path, pinned=pinned)
        self.log = log

    def read_into(self, start, buffer, /):
        self.log.append((start, buffer.nbytes))
        super().read_into(start, buffer)


def scanned_ranges(folder):
    log = []

    @contextmanager
    def opener(path, /, *, pinned=None):
        with Counting(path, pinned=pinned, log=log) as source:
            yield source

    raw = read(folder, opener)
    headers = len(log)
    layers_of(raw, opener)
    return raw, log[:headers], log[headers:]


def wide(n, dtype=np.float32):
    """Return modules whose factors are far apart: 96 KiB each."""
    return {
        f"m{i}": (np.ones((RANK, 8192), dtype), np.ones((8192, RANK), dtype))
        for i in range(n)
    }


def test_a_scan_reads_headers_and_alphas_alone(tmp_path):
    kohya(tmp_path, wide(5), ALPHA)
    raw, headers, alphas = scanned_ranges(tmp_path)
    start = min(ref.start for ref in raw.tensors)
    assert sum(nbytes for _, nbytes in headers) == start
    assert sorted(alphas) == sorted(
        (ref.start, 4) for ref in raw.tensors if ref.name.endswith(".alpha")
    )


def test_alphas_that_lie_together_are_read_in_one_go(tmp_path):
    # A file has wider numbers first, so that these are all at its begin.
    kohya(tmp_path, wide(50, np.float16), ALPHA)
    *_, alphas = scanned_ranges(tmp_path)
    assert [nbytes for _, nbytes in alphas] == [200]


def test_alphas_among_small_factors_are_read_in_one_go(tmp_path):
    layers = {f"m{i}": (np.ones((2, 8)), np.ones((8, 2))) for i in range(50)}
    kohya(tmp_path, layers, ALPHA, np.float64)
    raw, _, alphas = scanned_ranges(tmp_path)
    assert len(alphas) == 1
    assert alphas[0][1] < sum(ref.nbytes for ref in raw.tensors)


def test_no_reading_is_longer_than_4_mib():
    tensors = [
        TensorRef("f", f"{n}", start, start + 4, "F32", ())
        for n, start in enumerate(range(0, 200 * 60_000, 60_000))
    ]
    lengths = []

    class Zeros(MemorySource):
        def read_into(self, start, buffer, /):
            lengths.append(buffer.nbytes)

    @contextmanager
    def opener(path, *, pinned=None):
        yield Zeros(b"")

    numbers = read_scalars(tensors, (), opener)
    assert numbers == {ref.name: 0.0 for ref in tensors}
    assert 3 <= len(lengths) <= 4
    assert max(lengths) <= 4 * 2**20


def test_a_file_that_changed_between_its_header_and_its_alphas(tmp_path, rng):
    kohya(tmp_path, factors(rng), ALPHA)
    raw = read(tmp_path)
    kohya(tmp_path, factors(rng) | wide(1), ALPHA)
    assert code(layers_of, raw) == "SOURCE_CHANGED"
