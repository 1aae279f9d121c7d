"""The slow, literal twin of a projection: stacked vectors and their SVD."""

import numpy as np

__all__ = ["naive_members", "naive_projection", "naive_sides"]


def stacked(maps):
    """Return one row a member, copies of earlier ones left out."""
    rows = []
    for x in maps:
        if not any(np.array_equal(x, y) for y in rows):
            rows.append(x)
    return np.stack([x.reshape(-1) for x in rows])


def basis(X):
    """Return the mean, and orthonormal directions of what is left of it."""
    mean = X.mean(axis=0)
    _, s, directions = np.linalg.svd(X - mean, full_matrices=False)
    return mean, directions[s > 1e-6 * s[0]]


def naive_projection(maps, x, levels):
    """Return the numbers of one layer, NaN where a level has none."""
    X, x = stacked(maps), x.reshape(-1)
    mean, V = basis(X)
    d = x - mean
    found = {"captured": {}, "captured_random": {}, "captured_secondary": {}}
    for k in levels:
        first, second = V[:k], V[k : 2 * k]
        whole = len(V) >= k
        found["captured"][k] = (
            np.linalg.norm(first.T @ (first @ d)) ** 2 / (d @ d)
            if whole
            else np.nan
        )
        found["captured_random"][k] = (
            k / len(V) * np.linalg.norm(V.T @ (V @ d)) ** 2 / (d @ d)
            if whole
            else np.nan
        )
        found["captured_secondary"][k] = (
            np.linalg.norm(second.T @ (second @ d)) ** 2 / (d @ d)
            if len(V) >= 2 * k
            else np.nan
        )
    found["r2_mean"] = 1 - (d @ d) / (x @ x)
    found["deviation"], found["norm"] = np.linalg.norm(d), np.linalg.norm(x)
    own = X - mean
    found["cosines"] = (own @ d) / (
        np.linalg.norm(own, axis=1) * np.linalg.norm(d)
    )
    found["plain"] = (X @ x) / (np.linalg.norm(X, axis=1) * np.linalg.norm(x))
    return found


def naive_members(maps, levels):
    """Return (members, levels): what the others hold of each, by itself."""
    maps = list(maps)
    return np.array(
        [
            list(
                naive_projection(maps[:i] + maps[i + 1 :], x, levels)[
                    "captured"
                ].values()
            )
            for i, x in enumerate(maps)
        ]
    )


def naive_sides(maps, x, levels):
    """Return what the members' joint directions hold of x, by side."""
    found = {}
    for name, turn in (("output", lambda W: W), ("input", np.transpose)):
        C = sum(turn(W) @ turn(W).T for W in maps)
        Z = np.linalg.eigh(C)[1][:, ::-1]
        y = turn(x)
        found[name] = {
            k: np.linalg.norm(Z[:, :k].T @ y) ** 2 / np.linalg.norm(y) ** 2
            if k <= len(C)
            else np.nan
            for k in levels
        }
    return found
