"""The slow, literal twin of `fit`: every map is formed, one loop a matrix.

Maps are given as arrays, (out, in) for full weights or a tuple (A, B, scale)
for an update scale * B @ A, in the dtype they would be stored in. Nothing of
spectra is used here but the values that a fit consists of.
"""

import json
from pathlib import Path

import ml_dtypes
import numpy as np
from safetensors.numpy import load_file

from spectra.subspaces.result import (
    LayerFit,
    Member,
    PopulationFit,
    SideFit,
)

__all__ = ["adapters", "checkpoints", "explicit", "naive_fit"]

JOINT = 64


def naive_fit(
    models,
    *,
    base=None,
    started_from_zero=False,
    rank=16,
    resolution=None,
    architecture="test",
):
    """Return the fit of ``{id: {layer: map}}``; `base` is ``{layer: map}``."""
    ids = list(models)
    names = dict.fromkeys(name for maps in models.values() for name in maps)
    layers = [
        naive_layer(name, models, base, rank, resolution, architecture)
        for name in names
    ]
    members = tuple(
        Member(name, None, f"/{name}", architecture, None, None, 0, "")
        for name in ids
    )
    return PopulationFit(
        models=members,
        layers=tuple(layer for layer in layers if layer is not None),
        quarantine=(),
        n_scanned=len(ids),
        started_from_zero=started_from_zero,
        settings={"rank": rank},
        environment={},
    )


def naive_layer(name, models, base, rank, resolution, architecture):
    holders = [
        (i, maps[name])
        for i, maps in enumerate(models.values())
        if name in maps
    ]
    kept, duplicates = distinct(holders)
    if len(kept) < 2:
        return None
    values = [value for _, value in kept]
    low_rank = isinstance(values[0], tuple)
    maps, kind = differences(values, base and base.get(name), low_rank)
    reference = np.zeros_like(maps[0]) if low_rank else maps[0]
    inner, h = products([x - reference for x in maps], reference)
    bases = [leading(x, rank) for x in maps]
    n = len(maps)
    singular_values = np.zeros((n, min(rank, *maps[0].shape)))
    for i, (_, s, _) in enumerate(bases):
        singular_values[i, : len(s)] = s
    return LayerFit(
        name=name,
        architecture=architecture,
        shape=maps[0].shape,
        kind=kind,
        members=tuple(i for i, _ in kept),
        duplicates=tuple(duplicates),
        inner=inner,
        h=h,
        reference_energy=float(np.sum(reference * reference)),
        rounding=np.array([rounding(value) for value in values]),
        resolution=n * 2.2e-16 if resolution is None else resolution,
        singular_values=singular_values,
        ranks=np.array([len(s) for _, s, _ in bases]),
        output=side([x @ x.T for x in maps], [U for U, _, _ in bases]),
        input=side([x.T @ x for x in maps], [V for _, _, V in bases]),
        initial=starts(values) if low_rank else None,
    )


def distinct(holders):
    """Return the first of each set of equal maps, and (copy, first) pairs."""
    kept, duplicates = [], []
    for i, value in holders:
        twins = [
            j for j, other in kept if fingerprint(other) == fingerprint(value)
        ]
        if twins:
            duplicates.append((i, twins[0]))
        else:
            kept.append((i, value))
    return kept, duplicates


def differences(values, base, low_rank):
    maps = [explicit(value) for value in values]
    if base is None:
        return maps, "low-rank" if low_rank else "dense"
    return [x - explicit(base) for x in maps], "difference"


def products(maps, reference):
    n = len(maps)
    inner, h = np.zeros((n, n)), np.zeros(n)
    for i in range(n):
        h[i] = np.sum(maps[i] * reference)
        for j in range(n):
            inner[i, j] = np.sum(maps[i] * maps[j])
    return inner, h


def explicit(value):
    """Return a map as a float64 matrix."""
    if isinstance(value, tuple):
        A, B, scale = value
        return scale * (np.asarray(B, float) @ np.asarray(A, float))
    return np.asarray(value, dtype=float)


def fingerprint(value):
    if isinstance(value, tuple):
        A, B, scale = value
        return A.tobytes(), B.tobytes(), float(scale), A.shape, B.shape
    return value.tobytes(), value.shape, str(value.dtype)


def leading(x, rank):
    U, s, Vh = np.linalg.svd(x, full_matrices=False)
    q = min(rank, int(np.sum(s > max(x.shape) * 2.2e-16 * s[0])))
    return U[:, :q], s[:q], Vh[:q].T


def side(covariances, bases):
    n, total = len(bases), sum(covariances)
    overlap = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            overlap[i, j] = np.sum((bases[i].T @ bases[j]) ** 2)
    mean = sum(Q @ Q.T for Q in bases) / n
    return SideFit(
        eigenvalues=np.linalg.eigvalsh(total)[::-1][:JOINT].clip(0),
        trace=float(np.trace(total)),
        projector_mean=np.linalg.eigvalsh(mean)[::-1][:JOINT].clip(0),
        overlap=overlap,
    )


def starts(values):
    n = len(values)
    products = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            A, C = (np.asarray(values[m][0], float) for m in (i, j))
            if A.shape == C.shape:
                products[i, j] = np.sum(A * C)
    return products


def rounding(value):
    """Return q: ulp^2 / 12 of each stored entry, carried to the map."""
    if not isinstance(value, tuple):
        return float(np.sum(ulp(value) ** 2) / 12)
    A, B, scale = value
    v_A, v_B = ulp(A) ** 2 / 12, ulp(B) ** 2 / 12
    A, B = np.asarray(A, float), np.asarray(B, float)
    in_B = sum(
        v_B[o, k] * np.sum(A[k] ** 2)
        for o in range(B.shape[0])
        for k in range(B.shape[1])
    )
    in_A = sum(
        v_A[k, j] * np.sum(B[:, k] ** 2)
        for k in range(A.shape[0])
        for j in range(A.shape[1])
    )
    return float(scale**2 * (in_A + in_B))


def ulp(values):
    info = ml_dtypes.finfo(values.dtype)
    size = np.maximum(np.abs(np.asarray(values, float)), float(info.tiny))
    return 2.0 ** (np.floor(np.log2(size)) - info.nmant)


def checkpoints(folder: Path):
    """Return ``{id: {layer: matrix}}`` of the matrices in a folder."""
    return {
        file.parent.name: {
            name.removesuffix(".weight"): value
            for name, value in sorted(load_file(file).items())
            if value.ndim == 2 and min(value.shape) > 0
        }
        for file in sorted(folder.glob("*/model.safetensors"))
    }


def adapters(folder: Path):
    """Return ``{id: {layer: (A, B, scale)}}`` of the adapters in a folder."""
    models = {}
    for file in sorted(folder.glob("*/adapter_model.safetensors")):
        config = json.loads((file.parent / "adapter_config.json").read_text())
        tensors = load_file(file)
        models[file.parent.name] = {
            name.removesuffix(".lora_A.weight"): (
                A,
                tensors[name.replace("lora_A", "lora_B")],
                config["lora_alpha"] / config["r"],
            )
            for name, A in sorted(tensors.items())
            if name.endswith(".lora_A.weight")
        }
    return models
