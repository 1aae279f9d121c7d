"""Small populations written to disk, as PEFT and safetensors write them."""

import json
from collections.abc import Mapping
from pathlib import Path

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

__all__ = [
    "adapters",
    "dense",
    "factors",
    "stored",
    "write_adapter",
    "write_dense",
]

DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
}


def stored(values, dtype):
    """Return float64 values as a file of that dtype gives them back."""
    return np.asarray(values).astype(DTYPES[dtype]).astype(np.float64)


def write_dense(folder: Path, tensors: Mapping, dtype="F32", config=None):
    """Write one full checkpoint."""
    folder.mkdir(parents=True)
    save_file(
        {
            name: np.ascontiguousarray(np.asarray(value).astype(DTYPES[dtype]))
            for name, value in tensors.items()
        },
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    (folder / "config.json").write_text(json.dumps(config or {}))


def write_adapter(folder: Path, layers: Mapping, alpha, dtype="F32", **config):
    """Write one PEFT adapter; `layers` maps module names to (A, B)."""
    folder.mkdir(parents=True)
    tensors = {}
    for name, (A, B) in layers.items():
        for side, value in (("A", A), ("B", B)):
            key = f"base_model.model.{name}.lora_{side}.weight"
            tensors[key] = np.ascontiguousarray(value.astype(DTYPES[dtype]))
    save_file(tensors, folder / "adapter_model.safetensors")
    rank = next(iter(layers.values()))[0].shape[0]
    settings = {"peft_type": "LORA", "r": rank, "lora_alpha": alpha} | config
    (folder / "adapter_config.json").write_text(json.dumps(settings))


def dense(folder: Path, n, shapes, *, seed=0, dtype="F32", spread=None):
    """Write `n` full checkpoints and return their maps, as stored.

    With `spread` they are fine-tunes of one base (written as ``base`` beside
    the population) that differ from it by that share of its norm.
    """
    rng = np.random.default_rng(seed)
    base = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    members = {}
    for i in range(n):
        members[f"m{i:02d}"] = {
            name: rng.standard_normal(shape)
            if spread is None
            else base[name] + spread * rng.standard_normal(shape)
            for name, shape in shapes.items()
        }
    for member, tensors in members.items():
        write_dense(folder / "members" / member, tensors, dtype)
    write_dense(folder / "base", base, dtype)
    rounded = {
        member: {name: stored(W, dtype) for name, W in tensors.items()}
        for member, tensors in members.items()
    }
    return (
        folder / "members",
        rounded,
        {name: stored(W, dtype) for name, W in base.items()},
    )


def factors(rng, out, rank, into):
    """Return (A, B) as a trained adapter has them."""
    A = rng.uniform(-1, 1, (rank, into)) / np.sqrt(into)
    B = rng.standard_normal((out, rank)) * 0.01
    return A, B


def adapters(folder: Path, ranks, shapes, *, seed=0, dtype="F32"):
    """Write one adapter a rank; return (A, B, scale) by layer, as stored."""
    rng = np.random.default_rng(seed)
    members = {}
    for i, rank in enumerate(ranks):
        layers = {
            name: factors(rng, out, rank, into)
            for name, (out, into) in shapes.items()
        }
        write_adapter(folder / f"a{i:02d}", layers, 16, dtype)
        members[f"a{i:02d}"] = {
            name: (stored(A, dtype), stored(B, dtype), 16 / rank)
            for name, (A, B) in layers.items()
        }
    return folder, members
