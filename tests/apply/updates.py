"""Adapters of one layer, drawn or read, and what merging makes of them."""

import json

import numpy as np
from numpy.testing import assert_allclose
from safetensors.numpy import load_file

from spectra.apply.merging.core_space import core_space
from spectra.apply.merging.methods import METHODS
from spectra.subspaces.recipes.table import Factors
from tests.reference.merging import explicit

__all__ = [
    "FOUR",
    "METHOD",
    "close",
    "drawn",
    "frame",
    "maps",
    "merged",
    "minilm",
    "needed",
    "of_triplets",
    "regauged",
    "tuples",
]

METHOD = {method.name: method for method in METHODS}
FOUR = (0.5, -1.0, 2.0, 1.5)
"""Weights of four updates."""


def drawn(rng, shape, ranks):
    """Return updates of a shape (out, in) with the ranks, and scales."""
    out, into = shape
    return [
        Factors(
            rng.standard_normal((r, into)) * np.exp(rng.standard_normal()),
            rng.standard_normal((out, r)) / np.sqrt(out),
            float(rng.uniform(0.5, 2)),
        )
        for r in ranks
    ]


def frame(rng, rows, columns):
    """Return a random orthonormal frame."""
    return np.linalg.qr(rng.standard_normal((rows, columns)))[0]


def of_triplets(U, s, V):
    """Return the update U diag(s) V'."""
    return Factors(V.T, U * s, 1.0)


def regauged(rng, update, condition=30.0):
    """Return the same update by the factors (G A, B inv(G))."""
    r = update.rank
    left, right = frame(rng, r, r), frame(rng, r, r)
    s = np.geomspace(1, condition, r)
    G = (left * s) @ right.T
    inverse = (right / s) @ left.T
    return Factors(G @ update.A, update.B @ inverse, update.scale)


def tuples(updates):
    """Return updates as the twins take them."""
    return [(update.A, update.B, update.scale) for update in updates]


def minilm(populations, module):
    """Return one layer of the population minilm-lora."""
    found = []
    for folder in sorted((populations / "minilm-lora").iterdir()):
        if not folder.is_dir():
            continue
        config = json.loads((folder / "adapter_config.json").read_text())
        tensors = load_file(folder / "adapter_model.safetensors")
        prefix = f"base_model.model.encoder.{module}"
        found.append(
            Factors(
                tensors[f"{prefix}.lora_A.weight"],
                tensors[f"{prefix}.lora_B.weight"],
                config["lora_alpha"] / config["r"],
            )
        )
    assert len(found) > 2
    return found


def merged(name, updates, axes="factors", **options):
    space = core_space(updates, axes=axes)
    return METHOD[name].merge(space, **options).lifted()


def needed(name):
    """Return values of the options that have no default."""
    return {key: {"k": 2, "weights": FOUR}[key] for key in METHOD[name].needs}


def maps(updates):
    return [explicit(update) for update in tuples(updates)]


def close(found, wanted, share=1e-10):
    assert_allclose(found, wanted, rtol=0, atol=share * np.abs(wanted).max())
