"""Names and orientations, against real key lists of many libraries."""

import pytest

from spectra.core.catalog import DenseSource, LowRankSource
from tests.weights.keys import KEYS, key_list, references, sort_keys

ADAPTERS = [name for name in KEYS if "scales" in key_list(name)]


def sorted_list(name):
    reference = key_list(name)
    return sort_keys(
        reference["keys"],
        reference["config"],
        reference.get("alphas"),
        reference.get("metadata"),
    )


def layers_of(name):
    return {key.name: key for key, _ in sorted_list(name).layers}


def test_there_are_thirty_at_least():
    assert len(KEYS) >= 30
    assert len(ADAPTERS) >= 7


@pytest.mark.parametrize("name", KEYS)
def test_layers_and_shapes_are_those_of_the_modules(name):
    found = {name: list(key.shape) for name, key in layers_of(name).items()}
    assert found == key_list(name)["expect"]


@pytest.mark.parametrize("name", KEYS)
def test_what_is_left_out_is_named_with_its_reason(name):
    found = sorted_list(name)
    skipped = {entry.tensor: entry.reason for entry in found.skipped}
    assert skipped == key_list(name)["expect_skipped"]


@pytest.mark.parametrize("name", KEYS)
def test_no_byte_is_lost_or_in_two_layers(name):
    found = sorted_list(name)
    used: dict[str, list[tuple[int, int]]] = {}
    for _, source in found.layers:
        for ref in source.tensors:
            used.setdefault(ref.name, []).append((ref.start, ref.stop))
    for ref in references(key_list(name)["keys"]):
        # Parts of a fused tensor are each of them once; their A is shared.
        end = ref.start
        for start, stop in sorted(set(used.get(ref.name, ()))):
            assert start == end
            end = stop
        assert end == (ref.stop if ref.name in used else ref.start)
    skipped = [entry.tensor for entry in found.skipped]
    assert sorted([*used, *skipped]) == sorted(key_list(name)["keys"])


@pytest.mark.parametrize("name", KEYS)
def test_the_stored_order_agrees_with_the_shape(name):
    for key, source in sorted_list(name).layers:
        if isinstance(source, DenseSource):
            first, *rest = source.weight.shape
            size = key.shape[1] if source.transposed else key.shape[0]
            assert first == size
            assert source.weight.size == key.shape[0] * key.shape[1]
            if source.transposed:
                assert rest == [key.shape[0]]
        else:
            assert source.A.shape == (source.rank, key.shape[1])
            assert source.B.shape == (key.shape[0], source.rank)


@pytest.mark.parametrize("name", ADAPTERS)
def test_scales_are_those_that_the_library_computes(name):
    scales = {
        key.name: source.scale
        for key, source in sorted_list(name).layers
        if isinstance(source, LowRankSource)
    }
    assert scales == pytest.approx(key_list(name)["scales"])


@pytest.mark.parametrize(
    ("body", "others"),
    [
        ("bert-plain", ["bert-masked-lm", "bert-classifier"]),
        ("bert-plain", ["bert-position-ids"]),
        ("distilbert-plain", ["distilbert-classifier"]),
        ("vit-plain", ["vit-classifier"]),
        ("llama-plain", ["llama-sharded", "mistral"]),
        ("gpt2-plain", ["gpt2-lm", "gpt2-masks"]),
    ],
)
def test_heads_and_prefixes_do_not_separate_one_body(body, others):
    inner = set(layers_of(body).values())
    for other in others:
        shared = inner & set(layers_of(other).values())
        # A pooler is left out where a language model's head takes its place.
        assert len(shared) >= len(inner) - 1, other


def test_an_adapter_s_layers_are_those_of_its_base():
    for adapter, base in (
        ("peft-plain", "bert-classifier"),
        ("peft-modules-to-save", "bert-plain"),
        ("peft-adapter-name", "bert-masked-lm"),
        ("peft-conv1d", "gpt2-lm"),
        ("minilm-lora", "minilm"),
    ):
        shapes = {n: key.shape for n, key in layers_of(base).items()}
        for name, key in layers_of(adapter).items():
            # The key list of MiniLM has the first two of its six blocks; the
            # head beside an adapter is not its base's.
            if key.kind == "low-rank" and (
                base != "minilm" or name.split(".")[2] in "01"
            ):
                assert shapes[name] == key.shape, (adapter, name)


def test_encoder_and_decoder_keep_their_names():
    whole, half = layers_of("t5"), layers_of("t5-encoder")
    assert set(half) < set(whole)
    assert {name.partition(".")[0] for name in whole} == {
        "shared",
        "encoder",
        "decoder",
    }


def test_conv1d_is_told_from_linear_by_its_shape():
    # Same names, and both say gpt: one stores in x out, one out x in.
    for name in ("gpt2-lm", "gpt-bigcode"):
        reference = key_list(name)
        found = sort_keys(reference["keys"], reference["config"])
        swapped = {
            key.name: source.transposed
            for key, source in found.layers
            if key.name.endswith(("c_attn", "c_proj", "c_fc"))
        }
        assert len(swapped) == 8
        assert set(swapped.values()) == {name == "gpt2-lm"}


@pytest.mark.parametrize("model_type", [None, "gpt2", "gpt_bigcode"])
def test_the_shape_outranks_the_model_type(model_type):
    for name, swapped in (("gpt2-lm", True), ("gpt-bigcode", False)):
        found = sort_keys(key_list(name)["keys"], {"model_type": model_type})
        assert {
            source.transposed
            for key, source in found.layers
            if key.name.endswith("attn.c_proj")
        } == {swapped}


def test_the_model_type_decides_where_no_shape_does():
    keys = {"h.0.attn.c_proj.weight": ["F32", [32, 32]]}
    for model_type, swapped in (("gpt2", True), ("gpt_bigcode", False)):
        ((_, source),) = sort_keys(keys, {"model_type": model_type}).layers
        assert source.transposed is swapped
