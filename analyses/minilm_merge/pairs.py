"""Sums of two adapters, and what their weights say of them beforehand."""

import itertools
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from analyses.minilm_merge.bench import Bench, Row
from analyses.minilm_merge.model import read_update
from spectra.apply.merging.core_space import core_space
from spectra.apply.merging.interference import alignment_ratios, interference
from spectra.subspaces.recipes.table import Factors


def factors(folder: Path) -> dict[str, Factors]:
    """Return the factors of each map of an adapter of the demo's kind."""
    stored = load_file(folder / "adapter_model.safetensors")
    return {
        name: Factors(
            A.astype(np.float64),
            stored[name.replace("lora_A", "lora_B")].astype(np.float64),
            2.0,
        )
        for name, A in stored.items()
        if ".lora_A." in name
    }


def predictors(
    one: Mapping[str, Factors], other: Mapping[str, Factors]
) -> Row:
    """Return what the weights of two adapters say of their sum.

    Interference summed over layers; the alignment of each with the other and
    with the mean, averaged over layers; the cosine of the two.
    """
    entrywise = nuclear = dot = 0.0
    norms, each_other, merged = np.zeros(2), [], []
    for name in one:
        space = core_space([one[name], other[name]])
        entrywise += interference(space)
        nuclear += interference(space, norm="nuclear")
        maps = [space.framed(core) for core in space.cores]
        both = space.framed(space.cores.mean(axis=0))
        ratios = alignment_ratios(maps, [*maps, both])
        each_other.append((ratios[0, 1] + ratios[1, 0]) / 2)
        merged.append(ratios[:, 2].mean())
        dot += float(np.sum(space.cores[0] * space.cores[1]))
        norms += np.sum(space.cores**2, axis=(1, 2))
    found = {
        "sti": entrywise, "sti_nuclear": nuclear,
        "sar": float(np.mean(each_other)),
        "sar_merged": float(np.mean(merged)),
        "cosine": dot / float(np.sqrt(norms.prod())),
        "norm": float(np.sqrt(norms.sum())),
    }  # fmt: skip
    return {name: float(f"{value:.6g}") for name, value in found.items()}


def pairs(bench: Bench) -> None:
    """Test the sum of each two adapters of a group on their two tasks."""
    for group, members in bench.groups.items():
        read = {i: factors(bench.path(i)) for i in members}
        updates = {i: read_update(bench.path(i)) for i in read}

        def measure(i: int, j: int, read=read, updates=updates) -> Row:
            both = {n: x + updates[j][n] for n, x in updates[i].items()}
            found = predictors(read[i], read[j])
            return bench.right(both, [i, j]) | {"predictors": found}

        for i, j in itertools.combinations(read, 2):
            bench.book.row(
                {"what": "pair", "group": group, "pair": [i, j],
                 "part": "test"},
                partial(measure, i, j),
            )  # fmt: skip
