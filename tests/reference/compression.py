"""The slow, literal twins of a compression, on explicit matrices."""

import numpy as np

__all__ = [
    "diagonal_energy",
    "joint_energy",
    "least_squares",
    "naive_break_even",
    "naive_compression",
    "naive_fewest",
]


def naive_compression(maps, k):
    """Return each member from mean and k directions, and what is lost."""
    X = np.stack([x.reshape(-1) for x in maps])
    mean = X.mean(axis=0)
    V = np.linalg.svd(X - mean, full_matrices=False)[2][:k]
    kept = mean + (X - mean) @ V.T @ V
    lost = np.sum((X - kept) ** 2, axis=1)
    own = np.sum((X - mean) ** 2, axis=1)
    return {
        "maps": kept.reshape(len(maps), *maps[0].shape),
        "error": lost.sum() / own.sum(),
        "r2": 1 - lost.sum() / np.sum(X**2),
        "errors": lost / own,
    }


def naive_fewest(maps, energy):
    """Return the fewest directions that keep a share of the deviations."""
    n = len(maps)
    errors = [naive_compression(maps, k)["error"] for k in range(1, n)]
    return next(k for k, e in enumerate(errors, 1) if 1 - e >= energy)


def naive_break_even(nbytes, shapes, ks):
    """Return N* = basis / (full - coefficients), all of one member.

    `nbytes` are those of an entry of the members.
    """
    sizes = [out * into for out, into in shapes]
    basis = sum(4 * (1 + k) * size for k, size in zip(ks, sizes, strict=True))
    return basis / (nbytes * sum(sizes) - 4 * sum(ks))


def joint_energy(maps, rank, steps):
    """Return the relative squared error of JD-Full by its formula."""
    V = np.linalg.eigh(sum(M.T @ M for M in maps))[1][:, -rank:]
    for _ in range(steps):
        C = sum(M @ V @ V.T @ M.T for M in maps)
        U = np.linalg.eigh(C)[1][:, -rank:]
        C = sum(M.T @ U @ U.T @ M for M in maps)
        V = np.linalg.eigh(C)[1][:, -rank:]
    missed = sum(
        np.linalg.norm(M - U @ (U.T @ M @ V) @ V.T) ** 2 for M in maps
    )
    return missed / sum(np.linalg.norm(M) ** 2 for M in maps)


def diagonal_energy(maps, rank, steps):
    """Return the relative squared error of JD-Diag, by least squares.

    It starts with the triplets of the largest singular values of all maps.
    """
    X = np.stack(maps)
    U, s, Vh = np.linalg.svd(X, full_matrices=False)
    order = np.argsort(-s, axis=None)[:rank]
    i, j = np.unravel_index(order, s.shape)
    U, V = U[i, :, j].T, Vh[i, j].T

    def best(P, Q, axis):
        """Return the factor along an axis for those along the others."""
        design = np.einsum("ar,br->abr", P, Q).reshape(-1, rank)
        columns = np.moveaxis(X, axis, -1).reshape(len(design), -1)
        return np.linalg.lstsq(design, columns, rcond=None)[0].T

    D = best(U, V, 0)
    for _ in range(steps):
        U = best(D, V, 1)
        D = best(U, V, 0)
        V = best(D, U, 2)
        D = best(U, V, 0)
    missed = X - np.einsum("ir,pr,qr->ipq", D, U, V)
    return (np.linalg.norm(missed) / np.linalg.norm(X)) ** 2


def least_squares(M, U, V, *, diagonal):
    """Return the share of a map that bases miss, solved entry by entry."""
    pairs = (
        zip(U.T, V.T, strict=True)
        if diagonal
        else ((u, v) for u in U.T for v in V.T)
    )
    design = np.stack([np.outer(u, v).ravel() for u, v in pairs], axis=1)
    found = np.linalg.lstsq(design, M.ravel(), rcond=None)[0]
    missed = M.ravel() - design @ found
    return (np.linalg.norm(missed) / np.linalg.norm(M)) ** 2
