"""Metrics of representations, and what is asked of them, by definition."""

from itertools import permutations

import numpy as np
from scipy.linalg import subspace_angles
from scipy.spatial import procrustes
from scipy.spatial.distance import pdist, squareform
from scipy.stats import spearmanr
from sklearn.neighbors import NearestNeighbors

__all__ = [
    "NAIVE",
    "naive_adjusted",
    "naive_alignment",
    "naive_hsic",
    "naive_line",
    "naive_mantel",
    "naive_neighbours",
]


def naive_neighbours(X, k):
    """Return k lists of neighbours as scikit-learn finds them by cosine."""
    found = NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute")
    return found.fit(X).kneighbors(return_distance=False)


def naive_mutual(X, Y, k):
    pairs = zip(naive_neighbours(X, k), naive_neighbours(Y, k), strict=True)
    return np.mean([len(set(a) & set(b)) / k for a, b in pairs])


def naive_cycle(X, Y, k):
    back, out = naive_neighbours(X, k), naive_neighbours(Y, k)
    return np.mean([any(i in back[j] for j in out[i]) for i in range(len(X))])


def longest(a, b):
    """Return the length of the longest common subsequence, recursively."""
    if not a or not b:
        return 0
    if a[0] == b[0]:
        return 1 + longest(a[1:], b[1:])
    return max(longest(a[1:], b), longest(a, b[1:]))


def edits(a, b):
    """Return the edit distance, recursively."""
    if not a or not b:
        return len(a) + len(b)
    return min(
        edits(a[1:], b) + 1,
        edits(a, b[1:]) + 1,
        edits(a[1:], b[1:]) + (a[0] != b[0]),
    )


def naive_lcs(X, Y, k):
    pairs = zip(naive_neighbours(X, k), naive_neighbours(Y, k), strict=True)
    return np.mean([longest(list(a), list(b)) for a, b in pairs])


def naive_edit(X, Y, k):
    pairs = zip(naive_neighbours(X, k), naive_neighbours(Y, k), strict=True)
    return np.mean([1 - edits(list(a), list(b)) / k for a, b in pairs])


def naive_cknna(X, Y, k, guard=0):
    """Return it from whole kernels; the released code has a guard of 1e-6."""
    kernels, near = [], []
    for Z in (X, Y):
        U = Z / np.linalg.norm(Z, axis=1, keepdims=True)
        kernels.append(U @ U.T)
        mask = np.zeros((len(Z), len(Z)), bool)
        for i, items in enumerate(naive_neighbours(Z, k)):
            mask[i, items] = True
        near.append(mask)

    def aligned(p, q):
        mask = near[p] & near[q]
        K, L = (np.where(mask, kernels[r], 0) for r in (p, q))
        return naive_hsic(K, L, debiased=True)

    return aligned(0, 1) / (np.sqrt(aligned(0, 0) * aligned(1, 1)) + guard)


def naive_hsic(K, L, *, debiased):
    """Return HSIC from whole kernels: eq. 3 or eq. 4 of Song et al. 2012."""
    n = len(K)
    if not debiased:
        H = np.eye(n) - 1 / n
        return np.trace(K @ H @ L @ H) / (n - 1) ** 2
    K, L = (M - np.diag(np.diag(M)) for M in (K, L))
    one = np.ones(n)
    return (
        np.trace(K @ L)
        + (one @ K @ one) * (one @ L @ one) / ((n - 1) * (n - 2))
        - 2 / (n - 2) * (one @ K @ L @ one)
    ) / (n * (n - 3))


def naive_cka(X, Y, kernel, *, debiased):
    K, L = kernel(X), kernel(Y)
    own = naive_hsic(K, K, debiased=debiased) * naive_hsic(
        L, L, debiased=debiased
    )
    return naive_hsic(K, L, debiased=debiased) / np.sqrt(own)


def inner(X):
    return X @ X.T


def gaussian(X):
    apart = pdist(X)
    return np.exp(-(squareform(apart) ** 2) / (2 * np.median(apart) ** 2))


def naive_procrustes(X, Y, k):
    """Return the root of what SciPy's disparity leaves of 1."""
    wide = max(X.shape[1], Y.shape[1])
    X, Y = (np.pad(Z, ((0, 0), (0, wide - Z.shape[1]))) for Z in (X, Y))
    return np.sqrt(1 - procrustes(X, Y)[2])


def leading(X, k):
    X = X - X.mean(axis=0)
    return np.linalg.svd(X, full_matrices=False)[0][:, :k]


def naive_svcca(X, Y, k):
    X, Y = X / X.std(axis=0), Y / Y.std(axis=0)
    return np.cos(subspace_angles(leading(X, 10), leading(Y, 10))).mean()


def naive_pwcca(X, Y, k):
    """Return Morcos et al. 2018, eq. 2, by whitening with covariances."""
    X, Y = X - X.mean(axis=0), Y - Y.mean(axis=0)

    def white(Z):
        values, vectors = np.linalg.eigh(Z.T @ Z)
        return Z @ (vectors / np.sqrt(values)) @ vectors.T

    P, Q = white(X), white(Y)
    U, correlations, _ = np.linalg.svd(P.T @ Q, full_matrices=False)
    variates = P @ U
    weights = [np.abs(h @ X).sum() for h in variates.T]
    return np.average(correlations, weights=weights)


def naive_rsa(X, Y, k):
    return spearmanr(pdist(X, "correlation"), pdist(Y, "correlation"))[0]


NAIVE = {
    "mutual-knn": naive_mutual,
    "cycle-knn": naive_cycle,
    "lcs-knn": naive_lcs,
    "edit-knn": naive_edit,
    "cknna": naive_cknna,
    "cka": lambda X, Y, k: naive_cka(X, Y, inner, debiased=False),
    "cka-debiased": lambda X, Y, k: naive_cka(X, Y, inner, debiased=True),
    "cka-rbf": lambda X, Y, k: naive_cka(X, Y, gaussian, debiased=False),
    "cka-rbf-debiased": lambda X, Y, k: naive_cka(
        X, Y, gaussian, debiased=True
    ),
    "procrustes": naive_procrustes,
    "svcca": naive_svcca,
    "pwcca": naive_pwcca,
    "rsa": naive_rsa,
}
"""By name; k is used by the metrics of neighbours."""


def naive_adjusted(values, draws):
    """Return Westfall and Young's p of each pair, draw by draw.

    draws[pair][draw] is of one permutation for all pairs.
    """
    scores = []
    for value, drawn in zip(values, draws, strict=True):
        both = [value, *drawn]
        scores.append([(x - np.mean(both)) / np.std(both) for x in both])
    found = []
    for own in scores:
        highest = [max(z[d] for z in scores) for d in range(len(own))]
        found.append(np.mean([z >= own[0] - 1e-9 for z in highest]))
    return found


def naive_alignment(excess, models):
    """Return the mean excess of each of some models, copies left out."""
    return [np.mean([excess[i, j] for j in models if j != i]) for i in models]


def naive_line(excess, scores, models):
    """Return slope and intercept through some models, copies among them."""
    y = naive_alignment(excess, models)
    return np.polyfit([scores[i] for i in models], y, 1)


def naive_mantel(A, B):
    """Return Pearson's r of pairs, and its p of all orders of B's models."""

    def r(order):
        n = len(A)
        pairs = [(i, j) for i in range(n) for j in range(i)]
        a = [A[i, j] for i, j in pairs]
        b = [B[order[i], order[j]] for i, j in pairs]
        return np.corrcoef(a, b)[0, 1]

    stands = r(range(len(A)))
    drawn = [r(order) for order in permutations(range(len(A)))]
    return stands, np.mean([abs(x) >= abs(stands) - 1e-9 for x in drawn])
