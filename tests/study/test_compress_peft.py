"""Members made again, read by PEFT and transformers as they are published.

The base is a module of a few layers, made here: nothing is downloaded.
"""

import json

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModel, BertConfig, GPT2Config

import spectra
from tests.study.test_merge_peft import PARENTS, TARGETS, base, updates_of

# PEFT 0.21 says so of every Conv1D that it meets among other layers.
pytestmark = pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to")

MIX = {"target_modules": ["mix"], "r": 2, "lora_alpha": 3}


def write(folder, seed, **config):
    """Write one adapter as PEFT does; return what is in it."""
    model = get_peft_model(base(), LoraConfig(**config))
    torch.manual_seed(seed)
    for key, weight in model.named_parameters():
        if "lora_" in key:
            torch.nn.init.normal_(weight, std=0.1)
    model.save_pretrained(folder)
    return updates_of(model)


@pytest.fixture(scope="module")
def population(tmp_path_factory):
    """Return the run of adapters with patterns and rsLoRA, and its members."""
    folder = tmp_path_factory.mktemp("population")
    held = {
        name: write(folder / "p" / name, seed, target_modules=TARGETS, **own)
        for seed, (name, own) in enumerate(PARENTS.items())
    }
    return spectra.fit(spectra.scan(folder / "p")), held


def mapped(update):
    A, B, scale = update
    return scale * (B @ A)


def assert_close(found, wanted):
    assert sorted(found) == sorted(wanted)
    for name, update in wanted.items():
        own = mapped(update)
        atol = 3e-6 * np.abs(own).max()
        assert_allclose(mapped(found[name]), own, atol=atol)


@pytest.mark.parametrize(
    ("scheme", "k"), [("model-axis", 2), ("jd-full", 12), ("jd-diag", 12)]
)
def test_peft_loads_every_member_again(population, tmp_path, scheme, k):
    """Where nothing is lost: N - 1 directions, or the sum of the ranks."""
    run, held = population
    found = spectra.compress(run, tmp_path / "c", scheme=scheme, k=k)
    for name, updates in held.items():
        made = spectra.reconstruct(found.path, name, tmp_path / "out")
        model = PeftModel.from_pretrained(base(), made.path)
        assert_close(updates_of(model), updates)
        config = model.peft_config["default"]
        if scheme != "model-axis":
            assert config.use_rslora is False
            assert config.r == config.lora_alpha
            assert config.rank_pattern == config.alpha_pattern == {}


@pytest.mark.parametrize("scheme", ["jd-full", "jd-diag"])
def test_it_adds_the_update_to_the_base(population, tmp_path, scheme):
    """By PEFT's own merge, of transposed weights and convolutions too."""
    run, held = population
    found = spectra.compress(run, tmp_path / "c", scheme=scheme, k=12)
    spectra.reconstruct(found.path, "c", tmp_path / "out")
    before = {n: w.detach().numpy() for n, w in base().named_parameters()}
    model = PeftModel.from_pretrained(base(), tmp_path / "out")
    for name, weight in model.merge_and_unload().named_parameters():
        moved = weight.detach().numpy() - before[name]
        module, _, kind = name.rpartition(".")
        if kind == "bias":
            assert not moved.any()
            continue
        wanted = mapped(held["c"][module])
        if module in {"mix", "words"}:  # stored in x out
            wanted = wanted.T
        assert_allclose(moved, wanted.reshape(moved.shape), atol=1e-6)


@pytest.mark.parametrize("scheme", ["jd-full", "jd-diag"])
def test_what_was_left_out_keeps_its_rank_and_scale(
    population, tmp_path, scheme
):
    run, held = population
    found = spectra.compress(
        run, tmp_path / "c", scheme=scheme, k=12, layers=["q", "conv"]
    )
    for name, updates in held.items():
        spectra.reconstruct(found.path, name, tmp_path / "out")
        model = PeftModel.from_pretrained(base(), tmp_path / "out")
        again = updates_of(model)
        assert_close(again, updates)
        for module in ("k", "mix", "words"):
            A, B, scale = again[module]
            assert np.array_equal(A, updates[module][0])
            assert np.array_equal(B, updates[module][1])
            assert scale == pytest.approx(updates[module][2], rel=1e-12)


@pytest.mark.parametrize("scheme", ["model-axis", "jd-full", "jd-diag"])
def test_weights_stored_the_other_way_round(tmp_path, scheme):
    held = {
        str(seed): write(
            tmp_path / "p" / str(seed), seed, fan_in_fan_out=True, **MIX
        )
        for seed in range(3)
    }
    run = spectra.fit(spectra.scan(tmp_path / "p"))
    found = spectra.compress(run, tmp_path / "c", scheme=scheme, k=6)
    spectra.reconstruct(found.path, "1", tmp_path / "out")
    model = PeftModel.from_pretrained(base(), tmp_path / "out")
    assert model.peft_config["default"].fan_in_fan_out is True
    moved = model.merge_and_unload().mix.weight - base().mix.weight
    wanted = mapped(held["1"]["mix"]).T
    assert_allclose(moved.detach().numpy(), wanted, atol=1e-6)


def test_modules_saved_whole_come_along(tmp_path):
    """Weights beside the factors are no layer of adapters: copied."""
    for seed in range(3):
        write(tmp_path / "p" / str(seed), seed, modules_to_save=["k"], **MIX)
    run = spectra.fit(spectra.scan(tmp_path / "p"))
    found = spectra.compress(
        run, tmp_path / "c", scheme="jd-full", k=6, layers=["mix"]
    )
    spectra.reconstruct(found.path, "2", tmp_path / "out")
    old, new = (
        PeftModel.from_pretrained(base(), each).merge_and_unload()
        for each in (tmp_path / "p" / "2", tmp_path / "out")
    )
    for one, other in zip(old.parameters(), new.parameters(), strict=True):
        assert_allclose(
            other.detach().numpy(), one.detach().numpy(), atol=1e-6
        )


TINY = {
    "bert": BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=2,
        num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=12,
    ),
    "gpt2": GPT2Config(
        vocab_size=50, n_embd=16, n_layer=2, n_head=2, n_positions=12
    ),
}  # fmt: skip


@pytest.mark.parametrize("family", TINY)
def test_transformers_loads_a_full_checkpoint_again(tmp_path, family):
    words = torch.arange(10)[None]
    outputs = []
    for seed in range(3):
        torch.manual_seed(seed)
        model = AutoModel.from_config(TINY[family]).eval()
        model.save_pretrained(tmp_path / "p" / str(seed))
        outputs.append(model(words).last_hidden_state.detach())
    run = spectra.fit(spectra.scan(tmp_path / "p"))
    found = spectra.compress(run, tmp_path / "c", k=2)
    few = spectra.compress(run, tmp_path / "d", k=1)
    for seed, wanted in enumerate(outputs):
        errors = []
        for each in (found, few):
            out = tmp_path / "out" / each.path.name
            spectra.reconstruct(each.path, str(seed), out)
            model = AutoModel.from_pretrained(out).eval()
            got = model(words).last_hidden_state.detach()
            errors.append(float((got - wanted).abs().max()))
        assert errors[0] < 1e-5
        assert errors[0] < 1e-2 * errors[1]
    config = json.loads((tmp_path / "out" / "c" / "config.json").read_text())
    assert config["model_type"] == family
