"""A population of adapters in the shape of the Mistral-7B LoRAs, on disk.

500 adapters of rank 16 for q, k and v of 32 layers in bfloat16: 9.4 GB. Each
has an initialisation of its own (PEFT's uniform A), and has moved from it. In
each layer both factors lean towards 24 directions that all share, besides
what is their own.

    python -m benchmarks.adapters FOLDER [--members 500] [--layers 32]
"""

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

HIDDEN, KEYS, RANK = 4096, 1024, 16
MODULES = {"q_proj": HIDDEN, "k_proj": KEYS, "v_proj": KEYS}
CONFIG = {
    "peft_type": "LORA",
    "base_model_name_or_path": "mistralai/Mistral-7B-v0.1",
    "r": RANK,
    "lora_alpha": 2 * RANK,
    "target_modules": list(MODULES),
    "fan_in_fan_out": False,
    "use_rslora": False,
    "use_dora": False,
    "bias": "none",
}
SHARED = 24
BF16 = ml_dtypes.bfloat16


def draw(rng: np.random.Generator, m: int, n: int) -> NDArray[np.float32]:
    """Return (m, n) standard normal numbers."""
    return rng.standard_normal((m, n), np.float32)


def lean(common: np.random.Generator, d: int) -> NDArray[np.float32]:
    """Return the shared directions (d, 24), each weaker than the last."""
    return draw(common, d, SHARED) * 0.9 ** np.arange(SHARED, dtype=np.float32)


def write_adapter(folder: Path, n_layers: int, number: int) -> None:
    """Write adapter `number`."""
    rng = np.random.default_rng([1, number])
    own = 0.8 ** np.arange(RANK, dtype=np.float32)
    tensors = {}
    for layer in range(n_layers):
        for module, out in MODULES.items():
            common = np.random.default_rng([0, layer, out])
            A = 2 * rng.random((RANK, HIDDEN), np.float32) - 1
            A += 0.1 * (lean(common, HIDDEN) @ draw(rng, SHARED, RANK)).T
            B = draw(rng, out, RANK) * own
            B += 0.2 * lean(common, out) @ draw(rng, SHARED, RANK)
            A, B = A / np.float32(HIDDEN**0.5), np.float32(1e-3) * B
            name = f"model.layers.{layer}.self_attn.{module}"
            where = f"base_model.model.{name}.lora_"
            tensors[f"{where}A.weight"] = A.astype(BF16)
            tensors[f"{where}B.weight"] = B.astype(BF16)
    home = folder / f"adapter-{number:04d}"
    home.mkdir(parents=True, exist_ok=True)
    save_file(tensors, home / "adapter_model.safetensors")
    (home / "adapter_config.json").write_text(json.dumps(CONFIG))


def write(folder: Path, members: int, n_layers: int) -> None:
    """Write all adapters, on all cores."""
    one = partial(write_adapter, folder, n_layers)
    with ProcessPoolExecutor() as pool:
        list(pool.map(one, range(members)))


def main() -> None:
    """Write the population."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--members", type=int, default=500)
    parser.add_argument("--layers", type=int, default=32)
    asked = parser.parse_args()
    write(asked.folder, asked.members, asked.layers)


if __name__ == "__main__":
    main()
