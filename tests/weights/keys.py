"""Key lists of real checkpoints, with what the architecture says they hold.

Each file of ``tests/reference/keys`` has the tensors that a library wrote,
and `expect`: the maps as that library's own modules describe them (an
``nn.Linear`` knows its ``out_features``), not as spectra finds them. Where
alphas are tensors, `alphas` has their values.
"""

import contextlib
import json
import math
from pathlib import Path

import numpy as np

from spectra.core.tensors import DTYPE_BITS, TensorRef
from spectra.weights.adapters import read_adapter_config
from spectra.weights.factors import sort_low_rank
from spectra.weights.formats import RawCheckpoint
from spectra.weights.layers import sort_dense
from spectra.weights.limits import Limits
from spectra.weights.lora import naming_of
from tests.checkpoints import DTYPES

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


def sort_keys(keys, config, alphas=None, metadata=None):
    """Return the layers of a key list as `scan` finds them."""
    peft = config.get("peft_type")
    tensors = tuple(references(keys))
    raw = RawCheckpoint(
        (),
        tensors,
        metadata or {},
        config,
        read_adapter_config(config) if peft else None,
    )
    naming = naming_of(raw)
    if naming is None:
        return sort_dense(tensors, config, limits=Limits())
    source = Alphas(tensors, alphas or {})

    def opener(path, *, pinned=None):
        return contextlib.nullcontext(source)

    return sort_low_rank(raw, naming, opener, limits=Limits())


class Alphas:
    """A file of which nothing but some numbers is known."""

    def __init__(self, tensors, values):
        self.nbytes = tensors[-1].stop
        self.numbers = [
            (ref, np.array(values[ref.name], DTYPES[ref.dtype]).tobytes())
            for ref in tensors
            if ref.name in values
        ]

    def read_into(self, start, buffer):
        stop = start + buffer.nbytes
        for ref, raw in self.numbers:
            if start <= ref.start and ref.stop <= stop:
                buffer[ref.start - start : ref.stop - start] = raw
