"""Adapters that PEFT wrote, merged, and read by PEFT as it is published.

The base is a module of a few layers, made here: nothing is downloaded.
"""

import json

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from transformers.pytorch_utils import Conv1D

import spectra
from tests.reference.merging import TWINS

# PEFT 0.21 says so of every Conv1D that it meets among other layers.
pytestmark = pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to")

TARGETS = ["q", "k", "mix", "words", "conv"]


class Base(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.words = torch.nn.Embedding(30, 16)
        self.q = torch.nn.Linear(16, 24)
        self.k = torch.nn.Linear(16, 8)
        self.mix = Conv1D(12, 24)
        self.conv = torch.nn.Conv2d(3, 5, 2)

    def forward(self, words, picture):
        x = self.words(words)
        return self.mix(self.q(x)), self.k(x), self.conv(picture)


PARENTS = {
    "a": {"r": 2, "lora_alpha": 8},
    "b": {"r": 3, "lora_alpha": 5, "use_rslora": True},
    "c": {
        "r": 2,
        "lora_alpha": 4,
        "rank_pattern": {"q": 5, "conv": 1},
        "alpha_pattern": {"q": 3, "mix": 9},
    },
}


def base():
    torch.manual_seed(0)
    return Base().eval()


def updates_of(model):
    """Return (A, B, scale) of each module as PEFT holds it."""
    found = {}
    for name, layer in model.named_modules():
        if not isinstance(layer, LoraLayer):
            continue
        scale = layer.scaling["default"]
        if len(layer.lora_embedding_A):
            A = layer.lora_embedding_A["default"]
            B = layer.lora_embedding_B["default"]
        else:
            A = layer.lora_A["default"].weight
            B = layer.lora_B["default"].weight
        A, B = (F.detach().double().flatten(1).numpy() for F in (A, B))
        found[name.removeprefix("base_model.model.")] = (A, B, scale)
    return found


@pytest.fixture(scope="module")
def parents(tmp_path_factory):
    """Return the folder of adapters, and what is in them."""
    folder = tmp_path_factory.mktemp("parents")
    held = []
    for seed, (name, config) in enumerate(PARENTS.items()):
        model = get_peft_model(
            base(), LoraConfig(target_modules=TARGETS, **config)
        )
        torch.manual_seed(seed)
        for key, weight in model.named_parameters():
            if "lora_" in key:
                torch.nn.init.normal_(weight, std=0.1)
        model.save_pretrained(folder / name)
        held.append(updates_of(model))
    return folder, held


@pytest.mark.parametrize(
    ("method", "options"),
    [("mean", {}), ("task-arithmetic", {"lam": 0.7}), ("iso-c", {})],
)
def test_peft_loads_what_was_merged(parents, tmp_path, method, options):
    folder, held = parents
    merged = spectra.merge(
        folder, tmp_path / "out", method=method, rank=12, **options
    )
    assert max(layer["error"] for layer in merged.layers) < 1e-12
    model = PeftModel.from_pretrained(base(), merged.path)
    found = updates_of(model)
    assert sorted(found) == sorted(TARGETS)
    for name, (A, B, scale) in found.items():
        assert scale == 1
        wanted = TWINS[method]([updates[name] for updates in held], **options)
        assert_allclose(B @ A, wanted, atol=1e-6 * np.abs(wanted).max())


def test_it_adds_the_update_to_the_base(parents, tmp_path):
    """By PEFT's own merge, of transposed weights and convolutions too."""
    folder, held = parents
    out = tmp_path / "out"
    spectra.merge(folder, out, method="mean", rank=12)
    before = {n: w.detach().numpy() for n, w in base().named_parameters()}
    model = PeftModel.from_pretrained(base(), out).merge_and_unload()
    for name, weight in model.named_parameters():
        moved = weight.detach().numpy() - before[name]
        module, _, kind = name.rpartition(".")
        if kind == "bias":
            assert not moved.any()
            continue
        wanted = TWINS["mean"]([updates[module] for updates in held])
        if module in {"mix", "words"}:  # stored in x out
            wanted = wanted.T
        assert_allclose(moved, wanted.reshape(moved.shape), atol=1e-6)


def test_weights_stored_the_other_way_round(tmp_path):
    """fan_in_fan_out is kept where all parents say it."""
    held = []
    for seed in range(2):
        config = LoraConfig(
            target_modules=["mix"], r=2, lora_alpha=3, fan_in_fan_out=True
        )
        model = get_peft_model(base(), config)
        torch.manual_seed(seed)
        for key, weight in model.named_parameters():
            if "lora_" in key:
                torch.nn.init.normal_(weight, std=0.1)
        model.save_pretrained(tmp_path / "p" / str(seed))
        held.append(updates_of(model)["mix"])
    merged = spectra.merge(
        tmp_path / "p", tmp_path / "out", method="mean", rank=4
    )
    model = PeftModel.from_pretrained(base(), merged.path)
    assert model.peft_config["default"].fan_in_fan_out is True
    moved = model.merge_and_unload().mix.weight - base().mix.weight
    wanted = TWINS["mean"](held).T
    assert_allclose(moved.detach().numpy(), wanted, atol=1e-6)


def test_nothing_else_is_asked_of_the_base(parents, tmp_path):
    """Where a layer is left out PEFT puts no adapter there."""
    folder, _ = parents
    out = tmp_path / "out"
    spectra.merge(folder, out, method="mean", layers=["q", "mix"])
    model = PeftModel.from_pretrained(base(), out)
    assert sorted(updates_of(model)) == ["mix", "q"]
    config = json.loads((out / "adapter_config.json").read_text())
    assert config["target_modules"] == ["mix", "q"]


def test_what_the_parents_agree_on_is_kept(parents, tmp_path):
    folder, _ = parents
    out = tmp_path / "out"
    spectra.merge(folder, out, method="mean")
    config = json.loads((out / "adapter_config.json").read_text())
    assert sorted(config["target_modules"]) == sorted(TARGETS)
    assert config["r"] == config["lora_alpha"] == 5
    assert config["use_rslora"] is False
    assert config["rank_pattern"] == config["alpha_pattern"] == {}
    assert config["peft_type"] == "LORA"
