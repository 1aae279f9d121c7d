"""The folders that papers lie in, each sound until one file changes."""

import json
import math
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from tests.checkpoints import factors, write_adapter, write_dense
from tests.fuzz.papers import Metadata, Paper, Weights

__all__ = ["layers", "papers", "tensors"]


def papers(folder):
    """Return the targets that scan a checkpoint, in folders below one."""
    return (
        _index(folder / "index"),
        _adapter_config(folder / "adapter-config"),
        _config(folder / "config"),
        _card(folder / "card"),
        _kohya(folder / "kohya"),
        _adapter(folder / "adapter"),
        _diffusers(folder / "diffusers"),
    )


def _json(value):
    return json.dumps(value).encode()


def tensors(*names):
    """Return small matrices by name."""
    rng = np.random.default_rng(0)
    return {
        name: rng.standard_normal((3, 4)).astype(np.float32) for name in names
    }


def _index(folder):
    """Two shards; a third file is no part of them, a fourth lies outside."""
    folder.mkdir(parents=True)
    save_file(tensors("a", "b"), folder / "one.safetensors")
    save_file(tensors("c"), folder / "two.safetensors")
    save_file(tensors("d"), folder / "other.safetensors")
    save_file(tensors("e"), folder.parent / "outside.safetensors")
    owners = {
        "a": "one.safetensors",
        "b": "one.safetensors",
        "c": "two.safetensors",
    }
    hostile = {
        "d": "other.safetensors",
        "e": "../outside.safetensors",
        "f": str(folder / "two.safetensors"),
        "g": "./two.safetensors",
        "h": "model.safetensors.index.json",
    }
    seeds = (
        _json({"metadata": {"total_size": 144}, "weight_map": owners}),
        _json({"weight_map": owners | hostile}),
        _json({"weight_map": dict(reversed(owners.items()))}),
    )
    name = "model.safetensors.index.json"
    (folder / name).write_bytes(seeds[0])
    return Paper("index", folder, name, seeds, check_layer=_check_owner)


def _check_owner(layer, index):
    """A tensor is read from the shard that the index gives it to."""
    for ref in layer.tensors:
        assert index["weight_map"][ref.name] == Path(ref.file).name


def layers():
    """Return the factors of an adapter by the names of its modules."""
    rng = np.random.default_rng(0)
    return {name: factors(rng, 6, 2, 5) for name in ("q_proj", "h.0.v_proj")}


def _adapter_config(folder):
    write_adapter(folder, layers(), 16)
    plain = {"peft_type": "LORA", "r": 2, "lora_alpha": 16}
    seeds = (
        _json(plain),
        _json(
            plain
            | {
                "use_rslora": True,
                "use_dora": False,
                "init_lora_weights": True,
                "rank_pattern": {"q_proj": 2, "h\\.\\d+\\.v_proj": 2},
                "alpha_pattern": {"q_proj": 8, ".*v_proj": 4.5},
                "target_modules": ["q_proj", "v_proj"],
                "base_model_name_or_path": "org/base",
                "fan_in_fan_out": False,
                "layer_replication": None,
            }
        ),
    )
    return Paper(
        "adapter_config",
        folder,
        "adapter_config.json",
        seeds,
        check_layer=_check_scale,
    )


def _check_scale(layer, config):
    """An update counts as PEFT has it, where no pattern says otherwise."""
    assert 0 < layer.scale < math.inf
    if not config.get("alpha_pattern"):
        root = math.sqrt if config.get("use_rslora") else float
        assert layer.scale == config["lora_alpha"] / root(layer.rank)


def _config(folder):
    names = ("h.0.attn.c_attn.weight", "q_proj.weight", "mlp.c_fc.weight")
    write_dense(folder, tensors(*names))
    seeds = (
        _json({"model_type": "gpt2", "_name_or_path": "org/base"}),
        _json({
            "model_type": "falcon",
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 1,
            "hidden_size": 4,
            "multi_query": True,
            "license": "mit",
            "base_model": ["org/base"],
            "text_config": {"model_type": "llama", "num_kv_heads": 1},
        }),
        _json({"quantization_config": {"bits": 4}, "quantization": None}),
    )  # fmt: skip
    return Paper("config", folder, "config.json", seeds)


def _card(folder):
    write_dense(folder, tensors("w"))
    seeds = (
        b"---\nlicense: mit\nbase_model:\n- org/base\ntags: [a, b]\n---\n# M",
        b"---\nlicense: 'apache-2.0'  # so\nbase_model: &a [*a, *a]\n...\n",
        b"---\nbase_model: !!python/object:os.system\nx: |\n  y\n---\n",
    )
    return Paper("card", folder, "README.md", seeds, is_json=False)


def _kohya(folder):
    """Scales are tensors, and metadata of the header says the rest."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    found = {}
    for module in ("lora_unet_down_blocks_0_conv", "lora_te_odd_name"):
        A, B = factors(rng, 6, 2, 5)
        found[f"{module}.lora_down.weight"] = A.astype(np.float16)
        found[f"{module}.lora_up.weight"] = B.astype(np.float16)
        found[f"{module}.alpha"] = np.array(1.0, np.float16)
    name = "kohya.safetensors"
    metadata = {"ss_network_dim": "2", "ss_network_alpha": "1.0"}
    save_file(found, folder / name, metadata)
    return Weights("kohya", folder, name)


def _adapter(folder):
    write_adapter(folder, layers(), 16)
    return Weights("adapter", folder, "adapter_model.safetensors")


def _diffusers(folder):
    """The configuration lies in the header, as a text."""
    folder.mkdir(parents=True)
    found = {}
    for name, (A, B) in layers().items():
        found[f"unet.{name}.lora_A.weight"] = A.astype(np.float32)
        found[f"unet.{name}.lora_B.weight"] = B.astype(np.float32)
    name, key = "pytorch_lora_weights.safetensors", "lora_adapter_metadata"
    config = {
        "unet.r": 2,
        "unet.lora_alpha": 4,
        "unet.peft_type": "LORA",
        "unet.use_rslora": False,
        "unet.rank_pattern": {"q_proj": 2},
        "unet.target_modules": ["q_proj"],
    }
    save_file(found, folder / name, {"format": "pt", key: json.dumps(config)})
    return Metadata("diffusers", folder, name, key)
