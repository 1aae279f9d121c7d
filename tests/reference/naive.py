"""The slow, literal twin of `fit`: every map is formed, one loop a matrix.

Maps are given as arrays, (out, in) for full weights or a tuple (A, B, scale)
for an update scale * B @ A, in the dtype they would be stored in. Nothing of
spectra is used here but the values that a fit consists of.
"""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import ml_dtypes
import numpy as np
from safetensors.numpy import load_file

from spectra.subspaces.result import (
    BaseFit,
    BaseSide,
    Folds,
    LayerFit,
    Member,
    PopulationFit,
    SideFit,
    WeightStats,
)

__all__ = ["adapters", "checkpoints", "explicit", "naive_fit"]

JOINT = 64
CONSENSUS = 16
FOLDS = 20


def naive_fit(
    models,
    *,
    base=None,
    started_from_zero=False,
    rank=16,
    resolution=None,
    architecture="test",
):
    """Return the fit of ``{id: {layer: map}}``; `base` is ``{layer: map}``.

    Full weights become differences from the base, updates are such already.
    """
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
    n, ids = len(maps), list(models)
    initial = starts(values) if low_rank else None
    digests = [
        hashlib.sha256(repr(fingerprint(value)).encode()).hexdigest()
        for value in values
    ]
    fold_of = folds_of(maps, initial, kind, [ids[i] for i, _ in kept])
    output = side([x @ x.T for x in maps], [U for U, _, _ in bases], fold_of)
    input_ = side([x.T @ x for x in maps], [V for _, _, V in bases], fold_of)
    base_fit, fault = None, None
    if base is not None and name in base:
        W = explicit(base[name])
        if np.any(W):
            base_fit, output, input_ = beside(W, maps, bases, output, input_)
        else:
            fault = "the base is zero in this layer"
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
        output=output,
        input=input_,
        initial=initial,
        digests=tuple(digests),
        weights=entries([v[0] if low_rank else v for v in values]),
        entry_sums=np.array([x.sum() for x in maps]),
        row_sums=np.array([[x.sum(0) @ y.sum(0) for y in maps] for x in maps]),
        row_products=np.array(
            [[np.sum((x @ y.T) ** 2) for y in maps] for x in maps]
        ),
        fold_of=fold_of,
        base=base_fit,
        base_fault=fault,
    )


def beside(W, maps, bases, output, input_):
    """Return the base W of some maps, and both sides beside it."""
    left, values, right = np.linalg.svd(W, full_matrices=False)
    return (
        BaseFit(
            values=values,
            norm=float(np.linalg.norm(W)),
            intruders=np.array([intruders(W, x, left) for x in maps]),
        ),
        replace(
            output,
            base=base_side(
                left, sum(x @ x.T for x in maps), [U for U, _, _ in bases]
            ),
        ),
        replace(
            input_,
            base=base_side(
                right.T, sum(x.T @ x for x in maps), [V for _, _, V in bases]
            ),
        ),
    )


def intruders(W, x, left):
    """Return how many of the 10 first left directions of W + x are new."""
    count = 0
    for y in np.linalg.svd(W + x)[0].T[: min(10, *W.shape)]:
        count += max(abs(float(u @ y)) for u in left.T) < 0.5
    return count


def base_side(directions, C, bases):
    d, m = directions.shape
    lead = directions[:, : min(128, d // 4, m)]
    Q = np.eye(d) - lead @ lead.T
    trace = np.trace(C)
    return BaseSide(
        profile=np.array([u @ C @ u / trace for u in directions.T]),
        hits=np.array(
            [
                np.mean([np.sum((F.T @ u) ** 2) for F in bases])
                for u in directions.T
            ]
        ),
        removed=lead.shape[1],
        left=float(np.trace(Q @ C @ Q) / trace),
        left_eigenvalues=np.linalg.eigvalsh(Q @ C @ Q)[::-1][:JOINT].clip(0),
    )


def entries(stored):
    """Return how the entries of each stored array are distributed."""
    arrays = [np.asarray(value, float) for value in stored]
    with np.errstate(invalid="ignore", divide="ignore"):
        kurtosis = [
            np.mean((x - x.mean()) ** 4) / x.var() ** 2 for x in arrays
        ]
    return WeightStats(
        mean=np.array([x.mean() for x in arrays]),
        std=np.array([x.std() for x in arrays]),
        kurtosis=np.array(kurtosis),
        zeros=np.array([np.mean(x == 0) for x in arrays]),
        ones=np.array([np.mean(x == 1) for x in arrays]),
    )


def folds_of(maps, initial, kind, names):
    """Deal one member of each group of alike ones into 20 folds."""
    n = len(maps)
    threshold = 0.9 if kind == "dense" else 0.5
    group = list(range(n))
    for i in range(n):
        for j in range(n):
            alike = cosine(maps[i], maps[j]) > threshold
            if initial is not None:
                scale = np.sqrt(initial[i, i] * initial[j, j])
                alike |= initial[i, j] > 0.3 * scale
            if alike:
                group = [group[i] if g == group[j] else g for g in group]
    folds, seen = np.full(n, -1), []
    for i in sorted(range(n), key=lambda i: names[i]):
        if group[i] not in seen:
            folds[i] = len(seen) % FOLDS
            seen.append(group[i])
    return folds


def cosine(x, y):
    scale = np.sqrt(np.sum(x * x) * np.sum(y * y))
    return np.sum(x * y) / scale if scale > 0 else 0.0


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
    if base is None or low_rank:
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


def side(covariances, bases, fold_of):
    n, total = len(bases), sum(covariances)
    K = max(1, *(U.shape[1] for U in bases))
    overlap, geodesic = np.zeros((n, n)), np.zeros((n, n))
    phi, cosines, pairs = np.zeros((K, K)), np.zeros(K), np.zeros(K)
    for i in range(n):
        for j in range(n):
            M = bases[i].T @ bases[j]
            overlap[i, j] = np.sum(M**2)
            if i != j:
                phi[: M.shape[0], : M.shape[1]] += M**2 / (n * (n - 1))
                found = np.linalg.svd(M, compute_uv=False).clip(0, 1)
                found[found > 1 - 1e-13] = 1.0
                geodesic[i, j] = np.linalg.norm(np.arccos(found))
                cosines[: len(found)] += found
                pairs[: len(found)] += 1
    mean = sum(Q @ Q.T for Q in bases) / n
    values, vectors = np.linalg.eigh(mean)
    lead = vectors[:, ::-1][:, : min(CONSENSUS, n * K)]
    Z = np.linalg.eigh(total)[1][:, ::-1][:, :JOINT]
    return SideFit(
        eigenvalues=np.linalg.eigvalsh(total)[::-1][:JOINT].clip(0),
        trace=float(np.trace(total)),
        projector_mean=values[::-1][:JOINT].clip(0),
        overlap=overlap,
        phi=phi,
        geodesic=geodesic,
        cosines=cosines / np.maximum(1, pairs),
        consensus=np.array([np.sum((U.T @ lead) ** 2, 0) for U in bases]),
        folds=Folds(
            sums=np.array(
                [
                    Z.T @ sum_of(covariances, fold_of == fold) @ Z
                    for fold in range(fold_of.max() + 1)
                ]
            ),
            traces=np.array(
                [
                    np.trace(sum_of(covariances, fold_of == fold))
                    for fold in range(fold_of.max() + 1)
                ]
            ),
        ),
    )


def sum_of(covariances, chosen):
    return sum(
        C for C, there in zip(covariances, chosen, strict=True) if there
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
