"""The merging methods from their definitions, on explicit matrices.

An update is a tuple (A, B, scale). Every map is formed, (out, in), and
decomposed by `np.linalg.svd`; nothing of spectra is used. Of singular
vectors to singular values of zero none is taken.
"""

import numpy as np

__all__ = [
    "TWINS",
    "alignment_ratio",
    "by_model",
    "explicit",
    "interference",
    "least_of",
    "published_cores",
    "rank_of",
]

ZERO = 1e-11


def explicit(update):
    A, B, scale = update
    return scale * (np.asarray(B, "f8") @ np.asarray(A, "f8"))


def rank_of(M):
    s = np.linalg.svd(M, compute_uv=False)
    return int((s > ZERO * s[0]).sum())


def nonzero(M, keep=None, against=0.0):
    """Return U, s and V of the singular values that are not zero."""
    U, s, Vh = np.linalg.svd(M, full_matrices=False)
    count = int((s > ZERO * max(s[0], against)).sum())
    count = count if keep is None else min(count, keep)
    return U[:, :count], s[:count], Vh[:count].T


def beside(found):
    """Return the U, the s and the V of several matrices beside each other."""
    parts = zip(*found, strict=True)
    return [np.concatenate(part, axis=-1) for part in parts]


def polar(F):
    """Return U V' of F = U S V', of the part that is not dependent."""
    U, s, Vh = np.linalg.svd(F, full_matrices=False)
    good = s > 1e-8 * s[0]
    return U[:, good] @ Vh[good]


def published_cores(updates):
    """Return U_B, V_A and the M_i of Panariello et al., without null rows."""
    left = np.concatenate([B for _, B, _ in updates], axis=1).astype("f8")
    right = np.concatenate([A for A, _, _ in updates], axis=0).astype("f8")
    U = np.linalg.svd(left)[0][:, : rank_of(left)]
    V = np.linalg.svd(right)[2][: rank_of(right)].T
    return U, V, [U.T @ explicit(update) @ V for update in updates]


def mean(updates):
    return sum(map(explicit, updates)) / len(updates)


def weighted(updates, weights):
    pairs = zip(weights, updates, strict=True)
    return sum(w * explicit(x) for w, x in pairs) / sum(weights)


def task_arithmetic(updates, lam=1.0):
    return lam * sum(map(explicit, updates))


def least_of(M, density):
    """Return the least magnitude that is kept of a matrix, or a vector."""
    count = max(1, round(density * M.size))
    return sorted(np.abs(M).ravel(), reverse=True)[count - 1]


def ties_of(matrices, density, leasts=None):
    """Return TIES entry by entry, in plain loops over the members."""
    if leasts is None:
        leasts = [least_of(M, density) for M in matrices]
    kept = []
    for M, least in zip(matrices, leasts, strict=True):
        kept.append(np.where(np.abs(M) < least, 0.0, M))
    total, votes = np.zeros_like(M), np.zeros_like(M)
    sign = np.sign(sum(kept))
    for M in kept:
        agrees = (np.sign(M) == sign) & (M != 0)
        total += np.where(agrees, M, 0)
        votes += agrees
    return np.where(votes > 0, total / np.where(votes > 0, votes, 1), 0.0)


def in_space(updates, space):
    """Return the matrices whose entries count, and what lifts one of them."""
    if space == "dense":
        return [explicit(update) for update in updates], lambda M: M
    U, V, cores = published_cores(updates)
    return cores, lambda M: U @ M @ V.T


def ties(updates, density=0.2, lam=1.0, space="dense", leasts=None):
    matrices, lifted = in_space(updates, space)
    return lifted(lam * ties_of(matrices, density, leasts))


def dare(updates, density=0.7, lam=1.0, seed=0, space="dense"):
    matrices, lifted = in_space(updates, space)
    total = 0
    for i, M in enumerate(matrices):
        rng = np.random.default_rng([*np.atleast_1d(seed).tolist(), i])
        total = total + M * (rng.random(M.shape) < density) / density
    return lifted(lam * total)


def knots_parts(updates, space="dense"):
    """Return U, S and the V' of all updates, and what lifts their product."""
    matrices, lifted = in_space(updates, space)
    U, s, V = nonzero(np.concatenate(matrices, axis=1))
    return U, np.diag(s), np.split(V.T, len(matrices), axis=1), lifted


def knots(
    updates, density=0.2, lam=1.0, *, inner="ties", compare="SV",
    space="dense", leasts=None,
):  # fmt: skip
    U, S, parts, lifted = knots_parts(updates, space)
    if inner == "mean":
        rows = S @ sum(parts) / len(parts)
    elif compare == "V":
        rows = S @ ties_of(parts, density, leasts)
    else:
        rows = ties_of([S @ part for part in parts], density, leasts)
    return lifted(lam * U @ rows)


def entries_of(name, updates, space):
    """Return the matrices of which `ties` or `knots` keeps a share."""
    if name == "ties":
        return in_space(updates, space)[0]
    _, S, parts, _ = knots_parts(updates, space)
    return [S @ part for part in parts]


def by_model(name, layers, density=0.2, space="dense", **options):
    """Return the merge of each layer, trimmed over all of them.

    As the code of TIES and that of KnOTS: each member is one long vector.
    """
    entries = [entries_of(name, updates, space) for updates in layers]
    vectors = [
        np.concatenate([M.ravel() for M in member])
        for member in zip(*entries, strict=True)
    ]
    leasts = [least_of(vector, density) for vector in vectors]
    options |= {"density": density, "space": space, "leasts": leasts}
    return [TWINS[name](updates, **options) for updates in layers]


def tsv_m(updates, keep=None, lam=1.0):
    maps = [explicit(update) for update in updates]
    if keep is None:
        keep = max(1, min(maps[0].shape) // len(maps))
    found = [nonzero(M, keep) for M in maps]
    U, s, V = beside(found)
    return lam * polar(U) @ np.diag(s) @ polar(V).T


def iso_c(updates, lam=1.0):
    U, s, V = nonzero(sum(map(explicit, updates)))
    return lam * s.mean() * U @ V.T


def iso_cts(updates, common=0.8, lam=1.0):
    maps = [explicit(update) for update in updates]
    n = len(maps)
    size = min(
        rank_of(np.concatenate(maps, axis=1)),
        rank_of(np.concatenate(maps, axis=0)),
    )
    own = min(round((size - int(size * common)) / n), size // n)
    shared = nonzero(sum(maps), size - n * own)
    off = np.eye(len(shared[0])) - shared[0] @ shared[0].T
    found = [nonzero(off @ M, own, np.linalg.norm(M)) for M in maps]
    found.append(shared)
    U, s, V = beside(found)
    return lam * s.mean() * polar(U) @ polar(V).T


def cart(updates, keep=None, lam=1.0):
    maps = [explicit(update) for update in updates]
    average = sum(maps) / len(maps)
    if keep is None:
        size = min(
            rank_of(np.concatenate(maps, axis=1)),
            rank_of(np.concatenate(maps, axis=0)),
        )
        keep = int(np.ceil(0.04 * size))
    total = np.zeros_like(average)
    for M in maps:
        U, s, Vh = np.linalg.svd(M - average)
        total += U[:, :keep] @ np.diag(s[:keep]) @ Vh[:keep]
    return average + lam * total


def subspace(updates, k, weights=None):
    maps = [explicit(update) for update in updates]
    X = np.stack([M.ravel() for M in maps])
    centre = X.mean(axis=0)
    directions = np.linalg.svd(X - centre, full_matrices=False)[2]
    directions = directions[: min(k, len(X) - 1)]
    shares = np.ones(len(X)) if weights is None else np.asarray(weights)
    shares = shares / shares.sum()
    merged = centre.copy()
    for share, x in zip(shares, X, strict=True):
        merged += share * directions.T @ (directions @ (x - centre))
    return merged.reshape(maps[0].shape)


TWINS = {
    "mean": mean,
    "weighted": weighted,
    "task-arithmetic": task_arithmetic,
    "ties": ties,
    "dare": dare,
    "knots": knots,
    "tsv-m": tsv_m,
    "iso-c": iso_c,
    "iso-cts": iso_cts,
    "cart": cart,
    "subspace": subspace,
}


def interference(updates, norm, keep=None):
    """Return singular task interference from its three matrices."""
    found = [nonzero(explicit(update), keep) for update in updates]
    U, s, V = beside(found)
    one = np.eye(len(s))
    product = (U.T @ U - one) @ np.diag(s) @ (V.T @ V - one)
    if norm == "entrywise":
        return np.abs(product).sum()
    return np.linalg.norm(product, "nuc")


def alignment_ratio(M, reference, k=None, share=0.95):
    U, s, _ = np.linalg.svd(reference)
    if k is None:
        k = 1
        while np.sqrt((s[:k] ** 2).sum() / (s**2).sum()) <= share:
            k += 1
    k = min(k, rank_of(reference))
    projector = U[:, :k] @ U[:, :k].T
    return np.linalg.norm(projector @ M) / np.linalg.norm(M)
