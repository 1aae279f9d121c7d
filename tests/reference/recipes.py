"""The recipes from their definitions, all models in memory at once.

A member is an array ``(out, in)`` or a tuple (A, B, scale). Each spectrum is
that of the samples laid under each other, by `np.linalg.svd`.
"""

import numpy as np

__all__ = [
    "SPECTRA",
    "explicit",
    "gaussian_shares",
    "project",
    "released",
    "unfold",
]


def explicit(member):
    """Return a member's map in float64."""
    if isinstance(member, tuple):
        A, B, scale = member
        return scale * (np.asarray(B, "f8") @ np.asarray(A, "f8"))
    return np.asarray(member, "f8").reshape(len(member), -1)


def squares(X):
    """Return squared singular values, as many as X has."""
    return np.linalg.svd(X, compute_uv=False) ** 2


def without_mean(matrices):
    """Return matrices less the mean of each entry over the models."""
    stack = np.stack([np.asarray(M, "f8") for M in matrices])
    return list(stack - stack.mean(axis=0))


def model_axis(members):
    X = np.stack([explicit(m).ravel() for m in members])
    return {"": squares(X - X.mean(axis=0))}


def rows_pca(members):
    rows = without_mean([explicit(m) for m in members])
    return {"": squares(np.concatenate(rows, axis=0))}


def lora_rows_pca(members):
    return {
        name: squares(np.concatenate(without_mean(factors), axis=0))
        for name, factors in zip("AB", raw(members), strict=True)
    }


def lora_cols_svd(members):
    found = {}
    As, Bs = raw(members)
    for name, tall in (("A", [A.T for A in As]), ("B", Bs)):
        matrix = np.concatenate([np.asarray(M, "f8") for M in tall], axis=1)
        centred = matrix - matrix.mean(axis=1, keepdims=True)
        found[name] = squares(centred)
    return found


def lora_eig(members):
    found = {}
    As, Bs = raw(members)
    for name, tall in (("A", [A.T for A in As]), ("B", Bs)):
        matrix = np.concatenate([np.asarray(M, "f8") for M in tall], axis=1)
        matrix = matrix - matrix.mean(axis=1, keepdims=True)
        values = np.linalg.eigvalsh(matrix @ matrix.T)[::-1]
        found[name] = values[: min(matrix.shape)]
    return found


def conv_cols(members):
    kernels = [np.asarray(m, "f8").reshape(len(m), -1) for m in members]
    return {"": squares(np.concatenate(kernels, axis=1))}


def tensor(members, centring="models"):
    """Return the models' maps as one tensor, less its mean, and the mean."""
    X = np.stack([explicit(m) for m in members])
    mean = {"models": X.mean(axis=0), "scalar": X.mean(), "none": 0.0}
    return X - mean[centring], mean[centring]


def unfold(X, mode):
    """Return the mode's fibres as columns."""
    return np.moveaxis(X, mode, 0).reshape(X.shape[mode], -1)


def hosvd(members, centring="models"):
    X, _ = tensor(members, centring)
    return {mode: squares(unfold(X, mode)) for mode in range(3)}


def project(X, factors):
    """Return X with each mode projected on the span of its factor."""
    for mode, U in enumerate(factors):
        if U is None:
            continue
        X = np.moveaxis(np.tensordot(U @ U.T, X, axes=(1, mode)), 0, mode)
    return X


def raw(members):
    return [A for A, _, _ in members], [B for _, B, _ in members]


def released(rows, n_components=300):
    """Return the explained variance ratios that `run_pca.py` saves."""
    from sklearn.decomposition import PCA

    X = np.concatenate(without_mean(rows), axis=0)
    n = min(n_components, X.shape[0] - 1, X.shape[1] - 1)
    ratios = PCA(n_components=n, svd_solver="full").fit(X)
    ratios = ratios.explained_variance_ratio_
    if ratios.sum() < 0.9:
        n = min(int(n / ratios.sum() * 0.9), X.shape[0] - 1)
        fit = PCA(n_components=n, svd_solver="full").fit(X)
        ratios = fit.explained_variance_ratio_
    return ratios


def gaussian_shares(n, d, draws, rng):
    """Return shares of spectra of n Gaussian samples of d features.

    Their mean, and their deviation from draw to draw.
    """
    shares = []
    for _ in range(draws):
        values = squares(rng.standard_normal((n, d)))
        shares.append(np.cumsum(values) / values.sum())
    return np.mean(shares, axis=0), np.std(shares, axis=0)


SPECTRA = {
    "model-axis": model_axis,
    "rows-pca": rows_pca,
    "lora-rows-pca": lora_rows_pca,
    "lora-cols-svd": lora_cols_svd,
    "lora-eig": lora_eig,
    "hosvd": hosvd,
    "conv-cols": conv_cols,
}
