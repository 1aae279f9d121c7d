"""Features of a base with an adapter, beside PEFT as it is published.

PEFT holds the adapter beside the base's weights and adds what both make of an
input; here it is added to the weights.
"""

import json
import re
import shutil
import sys
from pathlib import Path

import h5py
import numpy as np
import PIL.Image
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import (
    BertForMaskedLM,
    BertModel,
    CLIPConfig,
    CLIPModel,
    GPT2LMHeadModel,
    T5ForConditionalGeneration,
    ViTForImageClassification,
    ViTImageProcessor,
)

import spectra
from spectra.cli.commands import command_of
from tests.study.test_features import TEXTS, held, one_by_one, refusal, tokens
from tests.study.tiny_networks import bert, gpt2, t5, tokenizer, vit

# Of PEFT 0.21 about transformers 5, Conv1D, and tied embeddings.
pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated",
    "ignore:fan_in_fan_out is set to",
    "ignore:Model has `tie_word_embedding",
    "ignore:Model with `tie_word_embedding",
)

WITH_HEAD = {
    "bert": (bert, BertForMaskedLM, lambda model: model.bert),
    "bare": (bert, BertModel, lambda model: model),
    "gpt2": (gpt2, GPT2LMHeadModel, lambda model: model.transformer),
    "t5": (t5, T5ForConditionalGeneration, lambda model: model.encoder),
    "vit": (vit, ViTForImageClassification, lambda model: model.vit),
}
QV = ["query", "value"]
CASES = {
    "rslora": ("bert", {"target_modules": QV, "use_rslora": True}),
    "patterns": (
        "bert",
        {
            "target_modules": [*QV, "dense"],
            "use_rslora": True,
            "rank_pattern": {"layer.0.attention.self.query": 5, "dense": 1},
            "alpha_pattern": {r"layer\.1\.attention\.self\.query": 7},
        },
    ),
    "beside": (
        "bert",
        {
            "target_modules": [*QV, "word_embeddings"],
            "bias": "all",
            "modules_to_save": ["LayerNorm", "decoder"],
        },
    ),
    "no-head": ("bare", {"target_modules": QV}),
    "fan-in-fan-out": (
        "gpt2", {"target_modules": ["c_attn", "c_proj"],
                 "fan_in_fan_out": True, "use_rslora": True},
    ),
    "by-torch": ("gpt2", {"target_modules": ["c_fc", "wte"]}),
    "t5": ("t5", {"target_modules": ["q", "wo"]}),
    "convolution": ("vit", {"target_modules": ["projection", "q_proj"]}),
}  # fmt: skip


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """Return the folder of each network."""
    root = tmp_path_factory.mktemp("bases")
    for make in (bert, gpt2, t5, vit):
        make(root / make.__name__)
    return root


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_bytes("\n".join(TEXTS).encode())
    return path


def trained(base, network, folder, *, seed=5, **config):
    """Save an adapter of which nothing is zero; return it on its base."""
    model = get_peft_model(
        network.from_pretrained(base),
        LoraConfig(**({"r": 3, "lora_alpha": 6} | config)),
    )
    torch.manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(0.3 * torch.randn_like(weight))
    model.save_pretrained(folder)
    return PeftModel.from_pretrained(
        network.from_pretrained(base), folder
    ).eval()


def pixels(folder):
    rng = np.random.default_rng(0)
    folder.mkdir()
    scaled = ViTImageProcessor(size={"height": 32, "width": 32})
    inputs = []
    for i in range(3):
        image = PIL.Image.fromarray(
            rng.integers(0, 255, (40, 32, 3), dtype=np.uint8)
        )
        image.save(folder / f"{i}.png")
        inputs.append(scaled(image, return_tensors="pt"))
    return inputs


@pytest.mark.parametrize("case", CASES)
def test_features_are_those_of_peft(case, bases, texts, tmp_path, monkeypatch):
    name, config = CASES[case]
    make, network, inner = WITH_HEAD[name]
    base, adapter = bases / make.__name__, tmp_path / "adapter"
    model = inner(trained(base, network, adapter, **config).base_model.model)
    items = {"texts": texts}
    if name == "vit":
        inputs = pixels(tmp_path / "images")
        items = {"images": tmp_path / "images"}
    else:
        inputs = tokens(base)
    expected = one_by_one(model, inputs)
    monkeypatch.setitem(sys.modules, "peft", None)
    found = spectra.features(
        adapter, tmp_path / "a.h5", base=base, device="cpu", **items,
        pool=["mean", "last", "first"],
    )  # fmt: skip
    features = held(tmp_path / "a.h5")
    assert features.keys() == expected.keys()
    for key, values in expected.items():
        np.testing.assert_allclose(features[key], values, atol=1e-5)
    spectra.features(
        base, tmp_path / "b.h5", device="cpu", **items, pool=["last"]
    )
    alone = held(tmp_path / "b.h5")["last/2"]
    assert np.abs(alone - features["last/2"]).max() > 0.05
    assert found.document["updated"]


def test_a_base_in_half_precision_is_not_rounded_again(bases, texts, tmp_path):
    """The update is added in the precision that the network computes in."""
    half, adapter = tmp_path / "half", tmp_path / "adapter"
    model = BertForMaskedLM.from_pretrained(
        bases / "bert", dtype=torch.bfloat16
    )
    model.save_pretrained(half)
    tokenizer(around=True).save_pretrained(half)
    trained(half, BertForMaskedLM, adapter, target_modules=QV)
    wide = BertForMaskedLM.from_pretrained(half, dtype=torch.float32)
    whole = PeftModel.from_pretrained(wide, adapter).eval()
    spectra.features(adapter, tmp_path / "f.h5", base=half, texts=texts)
    np.testing.assert_allclose(
        held(tmp_path / "f.h5")["mean/2"],
        one_by_one(whole.base_model.model.bert, tokens(half))["mean/2"],
        atol=1e-5,
    )


def test_an_adapter_of_both_towers_of_clip(texts, tmp_path):
    blocks = {
        "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 32,
    }  # fmt: skip
    config = CLIPConfig(
        text_config=blocks | {"vocab_size": 44, "eos_token_id": 3},
        vision_config=blocks | {"image_size": 32, "patch_size": 8},
    )
    torch.manual_seed(4)
    base, adapter = tmp_path / "clip", tmp_path / "adapter"
    CLIPModel(config).save_pretrained(base)
    tokenizer(around=True).save_pretrained(base)
    model = trained(base, CLIPModel, adapter, target_modules=["q_proj"])
    found = spectra.features(
        adapter, tmp_path / "f.h5", base=base, texts=texts
    )
    text = model.base_model.model.text_model
    np.testing.assert_allclose(
        held(tmp_path / "f.h5")["mean/2"],
        one_by_one(text, tokens(base))["mean/2"],
        atol=1e-5,
    )
    assert len(found.document["updated"]) == 2
    unused = [n for n in found.document["unused"] if "lora" in n]
    assert len(unused) == 4
    assert all("vision_model" in name for name in unused)


def test_the_file_names_adapter_and_base(bases, texts, tmp_path):
    base, adapter = bases / "bert", tmp_path / "adapter"
    trained(
        base, BertForMaskedLM, adapter, target_modules=["query"],
        modules_to_save=["decoder"],
    )  # fmt: skip
    found = spectra.features(
        adapter, tmp_path / "a.h5", base=base, texts=texts
    ).document
    alone = spectra.features(base, tmp_path / "b.h5", texts=texts).document
    own = ("model", "path", "revision", "fingerprint")
    assert (found["model"], found["path"]) == ("adapter", str(adapter))
    assert found["base"] == {key: alone[key] for key in own}
    assert found["fingerprint"] != alone["fingerprint"]
    assert (alone["base"], alone["updated"]) == (None, [])
    assert found["updated"] == [
        f"encoder.layer.{i}.attention.self.query.weight" for i in range(2)
    ]
    # A head that was trained with it changes no hidden state.
    assert set(found["unused"]) - set(alone["unused"]) == {
        f"base_model.model.cls.predictions.decoder.{kind}"
        for kind in ("bias", "weight")
    }
    assert found["text"].startswith("BertModel, 2 weights adapted: 3 layers")
    with h5py.File(tmp_path / "a.h5") as file:
        assert json.loads(file.attrs["base"]) == found["base"]
        assert json.loads(file.attrs["updated"]) == found["updated"]


@pytest.fixture(scope="module")
def of_queries(bases, tmp_path_factory):
    """Return an adapter of the base "bert"."""
    folder = tmp_path_factory.mktemp("of") / "queries"
    trained(bases / "bert", BertForMaskedLM, folder, target_modules=["query"])
    return folder


@pytest.fixture
def adapter(of_queries, tmp_path):
    """Return a copy of it that a test may break."""
    return Path(shutil.copytree(of_queries, tmp_path / "adapter"))


def of_tensors(change):
    """Return what changes the tensors of an adapter in its folder."""

    def edit(folder):
        path = folder / "adapter_model.safetensors"
        save_file(change(load_file(path)), path, {"format": "pt"})

    return edit


def renamed(old, new):
    return of_tensors(
        lambda tensors: {
            re.sub(old, new, name): each for name, each in tensors.items()
        }
    )


def with_tensor(name, *shape):
    return of_tensors(
        lambda tensors: (
            tensors | {f"base_model.model.{name}": torch.ones(shape)}
        )
    )


def with_field(key, value):
    def edit(folder):
        path = folder / "adapter_config.json"
        fields = json.loads(path.read_text()) | {key: value}
        path.write_text(json.dumps(fields))

    return edit


@of_tensors
def narrower(tensors):
    return {
        name: each[:, :-1].clone() if "lora_A" in name else each
        for name, each in tensors.items()
    }


@of_tensors
def no_number(tensors):
    tensors[min(tensors)][0, 0] = float("nan")
    return tensors


QUERY = "bert.encoder.layer.1.attention.self.query"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (renamed(r"layer\.1\.", "layer.7."),
         f"does not fit BertModel: {QUERY.replace('1', '7')} is not in it"),
        (renamed(r"self\.query", "output.LayerNorm"),
         "output.LayerNorm is a LayerNorm there"),
        (renamed(r"bert\.encoder\.layer", "model.layers"),
         "no weight of the adapter is of a layer of BertModel"),
        (narrower, "is of 16 x 16 there, its update of 16 x 15"),
        (no_number, "NONFINITE: base_model.model.bert.encoder.layer.0"),
        (with_tensor(f"{QUERY}.bias", 9),
         f"{QUERY}.bias is of [16] there, the adapter's of [9], F32"),
        (with_tensor(f"{QUERY}.bias", 0), "the adapter's of [0], F32"),
        (with_tensor(f"{QUERY}.lora_B.bias", 16),
         f"{QUERY}.lora_B.bias is not in it"),
        (with_tensor("bert.embeddings.word_embeddings.token_adapter.x", 2, 2),
         "token_adapter.x is not in it"),
        (with_tensor(f"{QUERY}.lora_magnitude_vector", 16), "DoRA"),
        (with_field("alora_invocation_tokens", [1, 2]),
         "the update is of some tokens alone"),
        (with_field("use_dora", True), "ADAPTER_CONFIG: use_dora is set"),
        (with_field("r", 5), "its factors have 3"),
    ],
)  # fmt: skip
def test_an_adapter_that_does_not_fit(
    change, words, bases, adapter, texts, tmp_path
):
    change(adapter)
    told = refusal(
        adapter, tmp_path / "f.h5", base=bases / "bert", texts=texts
    )
    assert told.startswith("E_EXTRACT: ")
    assert words in told
    assert "\n" not in told


def test_an_embedding_that_the_network_has_twice(bases, texts, tmp_path):
    """PEFT changes one of its places, an update of the weight would all."""
    trained(
        bases / "t5", T5ForConditionalGeneration, tmp_path / "a",
        target_modules=["shared"],
    )  # fmt: skip
    told = refusal(
        tmp_path / "a", tmp_path / "f.h5", base=bases / "t5", texts=texts
    )
    assert "changes shared.weight, which T5Model has in several" in told


def test_the_command(bases, of_queries, texts, tmp_path, capsys):
    words = [str(of_queries), "--texts", str(texts), "-o"]
    words += [str(tmp_path / "f.h5"), "--base", str(bases / "bert")]
    command_of("features").main(words, standalone_mode=False)
    printed = capsys.readouterr().out
    assert "BertModel, 2 weights adapted: 3 layers of 8 items" in printed


def test_what_does_not_go_together(bases, adapter, texts, tmp_path):
    out = tmp_path / "f.h5"
    with_field("base_model_name_or_path", "owner/ba\nse")(adapter)
    told = refusal(adapter, out, texts=texts)
    assert told.startswith("E_EXTRACT: ")
    assert "is an adapter; name what it was trained on with --base" in told
    assert "it says owner/ba\\nse" in told
    told = refusal(bases / "bert", out, base=bases / "bert", texts=texts)
    assert "is no adapter of PEFT, and --base is what" in told
    told = refusal(adapter, out, base=adapter, texts=texts)
    assert "is an adapter itself" in told
    told = refusal(adapter, out, base=bases, texts=texts)
    assert told.startswith("E_MODEL: ")
    assert "4 checkpoints, not one" in told
