"""Models of transformers, merged and loaded again by transformers."""

import json

import numpy as np
import pytest

import spectra
from tests.reference.full import merged_states

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SMALL = {"vocab_size": 61}


def bert():
    config = transformers.BertConfig(
        **SMALL, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=24, max_position_embeddings=20,
    )  # fmt: skip
    return transformers.BertForMaskedLM(config)


def gpt2():
    config = transformers.GPT2Config(
        **SMALL, n_embd=16, n_layer=2, n_head=2, n_positions=20,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    return transformers.GPT2LMHeadModel(config)


def is_turned(name, x):
    """Return whether GPT-2 stores a matrix in x out, as its Conv1D do."""
    return x.ndim == 2 and ".c_" in name


def written(folder, make, dtype=torch.float32):
    """Write a model and three fine-tunes; return their parameters."""
    torch.manual_seed(0)
    base = make().to(dtype)
    base.save_pretrained(folder / "base")
    states = []
    for i in range(3):
        model = make().to(dtype)
        model.load_state_dict(base.state_dict())
        with torch.no_grad():
            for x in model.parameters():
                x.add_((0.02 * torch.randn(x.shape)).to(dtype))
        model.save_pretrained(folder / "p" / f"m{i}")
        states.append(parameters(model))
    return parameters(base), states


def parameters(model):
    """Return each parameter once: tied ones have one name."""
    return {
        name: x.detach().double().numpy()
        for name, x in model.named_parameters()
    }


def turned(state):
    return {n: x.T if is_turned(n, x) else x for n, x in state.items()}


@pytest.mark.parametrize("make", [bert, gpt2])
@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("mean", {}),
        ("ties", {"density": 0.3}),
        ("knots", {}),
        ("tsv-m", {"lam": 0.6}),
        ("iso-cts", {}),
    ],
)
def test_transformers_loads_what_was_merged(tmp_path, make, method, options):
    base, states = written(tmp_path, make)
    out = tmp_path / "out"
    spectra.merge(
        tmp_path / "p", out, method=method, base=tmp_path / "base",
        shard_size="6KB", **options,
    )  # fmt: skip
    assert (out / "model.safetensors.index.json").exists()
    kind = type(make())
    model, told = kind.from_pretrained(out, output_loading_info=True)
    assert not told["missing_keys"]
    assert not told["unexpected_keys"]
    assert not told["mismatched_keys"]
    wanted = turned(
        merged_states(method, [*map(turned, states)], turned(base), **options)
    )
    found = parameters(model)
    assert found.keys() == wanted.keys()
    for name, x in wanted.items():
        np.testing.assert_allclose(
            found[name], x, rtol=0, atol=2e-6 * np.abs(x).max(), err_msg=name
        )
    transformers.AutoModel.from_pretrained(out)


def test_half_precision_stays_what_it_is(tmp_path):
    base, states = written(tmp_path, bert, torch.bfloat16)
    out = tmp_path / "out"
    spectra.merge(
        tmp_path / "p", out, method="task-arithmetic", lam=0.5,
        base=tmp_path / "base",
    )  # fmt: skip
    config = json.loads((out / "config.json").read_text())
    assert "bfloat16" in (config.get("dtype"), config.get("torch_dtype"))
    model = transformers.BertForMaskedLM.from_pretrained(
        out, dtype=torch.bfloat16
    )
    wanted = merged_states("task-arithmetic", states, base, lam=0.5)
    for name, x in parameters(model).items():
        rounded = torch.from_numpy(wanted[name]).bfloat16().double()
        assert np.array_equal(x, rounded.numpy()), name
