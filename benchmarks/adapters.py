"""A population of adapters in the shape of the Mistral-7B LoRAs, on disk.

500 adapters of rank 16 for q, k and v of 32 layers in bfloat16: 9.4 GB. Each
has an initialisation of its own (PEFT's uniform A); its update leans a little
towards four directions that all share, layer by layer.

    python benchmarks/adapters.py FOLDER [--members 500] [--layers 32]
"""

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import ml_dtypes
import numpy as np
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
SHARED = 4
BF16 = ml_dtypes.bfloat16


def write_adapter(folder: Path, n_layers: int, number: int) -> None:
    """Write adapter `number`."""
    rng = np.random.default_rng([1, number])
    decay = (0.8 ** np.arange(RANK, dtype=np.float32)).astype(np.float32)
    tensors = {}
    for layer in range(n_layers):
        for module, out in MODULES.items():
            common = np.random.default_rng([0, layer, out])
            shared = common.standard_normal((out, SHARED), np.float32)
            A = rng.random((RANK, HIDDEN), np.float32)
            A = (2 * A - 1) / np.float32(np.sqrt(HIDDEN))
            B = rng.standard_normal((out, RANK), np.float32) * decay
            B += 0.3 * shared @ rng.standard_normal((SHARED, RANK), np.float32)
            name = f"model.layers.{layer}.self_attn.{module}"
            where = f"base_model.model.{name}.lora_"
            tensors[f"{where}A.weight"] = A.astype(BF16)
            tensors[f"{where}B.weight"] = (1e-3 * B).astype(BF16)
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
