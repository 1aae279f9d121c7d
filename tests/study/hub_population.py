"""A population on a loopback hub: four formats, small and quick to make."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from safetensors.numpy import save

from tests.hub import Repository

TAG = "population"
MODULE = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_{}"
SIDES = ("q", "v")
RANK = 3


def factors(rng: np.random.Generator) -> dict[str, tuple[Any, Any]]:
    """Return (A, B) of each layer, one of them in half precision."""
    return {
        MODULE.format(side): (
            rng.standard_normal((RANK, 12)).astype(np.float16),
            rng.standard_normal((9, RANK)).astype(np.float16),
        )
        for side in SIDES
    }


def peft(rng: np.random.Generator) -> dict[str, bytes]:
    tensors = {
        f"base_model.model.{name}.lora_{side}.weight": factor
        for name, pair in factors(rng).items()
        for side, factor in zip("AB", pair, strict=True)
    }
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": 6}
    return {
        "adapter_config.json": json.dumps(config).encode(),
        "adapter_model.safetensors": save(tensors),
    }


def nested(rng: np.random.Generator) -> dict[str, bytes]:
    """Return an adapter in a folder of its own, as trainers save it."""
    return {f"checkpoint-9/{n}": body for n, body in peft(rng).items()}


def kohya(rng: np.random.Generator) -> dict[str, bytes]:
    tensors = {}
    for name, (A, B) in factors(rng).items():
        stem = "lora_unet_" + name.replace(".", "_")
        tensors[f"{stem}.lora_down.weight"] = A
        tensors[f"{stem}.lora_up.weight"] = B
        tensors[f"{stem}.alpha"] = np.array(6, np.float16)
    return {"style.safetensors": save(tensors)}


def diffusers(rng: np.random.Generator) -> dict[str, bytes]:
    tensors = {
        f"unet.{name}.lora_{side}.weight": factor
        for name, pair in factors(rng).items()
        for side, factor in zip("AB", pair, strict=True)
    }
    return {"pytorch_lora_weights.safetensors": save(tensors)}


def sharded(
    rng: np.random.Generator, layers: int = 2, side: int = 10
) -> dict[str, bytes]:
    """Return full weights in two shards."""
    names = [f"model.layers.{i}.mlp.up_proj.weight" for i in range(layers)]
    tensors = {
        name: rng.standard_normal((side, side + 2)).astype(np.float32)
        for name in names
    }
    halves = names[: layers // 2], names[layers // 2 :]
    shards = {
        f"model-{i:05}-of-00002.safetensors": half
        for i, half in enumerate(halves, 1)
    }
    files = {
        shard: save({name: tensors[name] for name in half})
        for shard, half in shards.items()
    }
    index = {name: shard for shard, half in shards.items() for name in half}
    return files | {
        "config.json": b"{}",
        "model.safetensors.index.json": json.dumps(
            {"metadata": {}, "weight_map": index}
        ).encode(),
    }


FORMATS = (peft, nested, kohya, diffusers, sharded)


def repositories(n: int, seed: int = 0) -> Iterator[Repository]:
    """Yield `n` repositories, the formats in turn."""
    for i in range(n):
        rng = np.random.default_rng((seed, i))
        make = FORMATS[i % len(FORMATS)]
        yield Repository(
            f"owner-{i % 3}/{make.__name__}-{i:04}",
            {"README.md": b"# A card", **make(rng)},
            (TAG,),
            license="mit",
            base_models=("adapter", ("org/base",)),
        )


def refused() -> list[tuple[Repository, str]]:
    """Return repositories that cannot be used, each with its code."""
    rng = np.random.default_rng(7)
    good: Mapping[str, bytes] = peft(rng)
    packed = save({"w.qweight": np.ones((4, 4), np.int32)})
    quantised = {
        "config.json": b'{"quantization_config": {"bits": 4}}',
        "model.safetensors": packed,
    }
    return [
        (Repository("bad/gated", good, (TAG,), gated="auto"), "GATED"),
        (Repository("bad/off", good, (TAG,), disabled=True), "DISABLED"),
        (Repository("bad/empty", {}, (TAG,)), "NO_WEIGHTS"),
        (
            Repository("bad/pickle", {"pytorch_model.bin": b"\x80"}, (TAG,)),
            "PICKLE_REFUSED",
        ),
        (Repository("bad/packed", quantised, (TAG,)), "QUANTISED"),
    ]
