"""What two of the surprises on this folder's page are made of."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from analyses.universal_subspace.published import share

Array = NDArray[np.float64]

TITLES = ("members", "layers", "what", "over layers")


def stacked(paths: Iterable[Path], name: str) -> Array:
    """Return a layer of several members: member, output, input."""
    weights = [load_file(path / "model.safetensors") for path in paths]
    return np.stack([each[f"{name}.weight"] for each in weights], dtype=float)


def alike_inputs(layers: Array) -> float:
    """Return how alike the members weigh their inputs.

    The correlation between two members of the logarithm of the energy with
    which they read each input, the mean over pairs.
    """
    energies = np.log((layers**2).sum(1))
    pairs = np.triu_indices(len(layers), 1)
    return float(np.corrcoef(energies)[pairs].mean())


def evenness(layers: Array) -> float:
    """Return the cosine of the first direction of the outputs with all ones.

    All outputs alike: the one direction that members have in common in
    whatever order their hidden units are.
    """
    C = np.einsum("noi,npi->op", layers, layers)
    leading = np.linalg.eigh(C)[1][:, -1]
    return float(abs(leading.sum()) / np.sqrt(len(leading)))


TRUNK = "_self_attention_stack._standard_stack._self_attention_stack.layers"
UNRELATED = (
    "SCEPTR", "SCEPTR_MLM_only", "SCEPTR_average_pooling",
    "SCEPTR_dropout_noise_only", "SCEPTR_shuffled_data",
    "SCEPTR_synthetic_data",
)  # fmt: skip


def checks(folder: Path) -> list[list[str]]:
    """Return what two of the surprises are made of, as ranges over layers."""
    seeds = sorted(folder.glob("ani/ani-1x_8x-*"))
    others = [folder / "sceptr" / name for name in UNRELATED]
    first, second = (
        [stacked(seeds, f"{element}.{i}") for element in "CHNO"]
        for i in (1, 2)
    )
    hidden = [stacked(others, f"{TRUNK}.{i}.linear1") for i in range(3)]
    energies = "energies of the inputs, correlation of two seeds"
    leading = "first direction of the outputs, cosine with all ones"
    found = (
        ("8 seeds of ANI-1x", "first", energies, map(alike_inputs, first)),
        ("8 seeds of ANI-1x", "second", leading, map(evenness, second)),
        ("6 strangers of sceptr", "linear1", leading, map(evenness, hidden)),
    )
    return [[*words, span(values)] for *words, values in found]


def span(values: Iterable[float]) -> str:
    known = sorted(values)
    return f"{share(known[0])} to {share(known[-1])}"
