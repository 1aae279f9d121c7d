"""Key lists of real checkpoints, with what the architecture says they hold.

Each file of ``tests/reference/keys`` has the tensors that a library wrote,
and `expect`: the maps as that library's own modules describe them (an
``nn.Linear`` knows its ``out_features``), not as spectra finds them.
"""

import json
import math
from pathlib import Path

from spectra.core.tensors import DTYPE_BITS, TensorRef
from spectra.weights.adapters import read_adapter_config
from spectra.weights.factors import sort_low_rank
from spectra.weights.layers import sort_dense
from spectra.weights.limits import Limits

__all__ = ["KEYS", "key_list", "references", "sort_keys"]

FOLDER = Path(__file__).resolve().parents[1] / "reference" / "keys"
KEYS = sorted(path.stem for path in FOLDER.glob("*.json"))


def key_list(name):
    """Return the content of one file."""
    return json.loads((FOLDER / f"{name}.json").read_text("utf-8"))


def references(keys):
    """Return {name: (dtype, shape)} as references into one file."""
    found, end = [], 8
    for name, (dtype, shape) in keys.items():
        start, end = end, end + math.prod(shape) * DTYPE_BITS[dtype] // 8
        found.append(TensorRef("f", name, start, end, dtype, tuple(shape)))
    return found


def sort_keys(keys, config):
    """Return the layers of a key list as `scan` finds them."""
    if config.get("peft_type"):
        adapter = read_adapter_config(config)
        return sort_low_rank(references(keys), adapter)
    return sort_dense(references(keys), config, limits=Limits())
