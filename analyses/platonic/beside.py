"""How alike representations are, beside items or models in another order."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

import spectra
from spectra.align.representations.mantel import mantel

Matrix = NDArray[np.float64]
Row = dict[str, Any]

DIGITS = 4


def aligned(parts: Mapping[str, Matrix], **asked: Any) -> dict[str, Any]:
    """Return the document of ``spectra align`` of some representations."""
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name, X in parts.items():
            paths.append(Path(folder) / f"{name}.npy")
            np.save(paths[-1], X)
        return dict(spectra.alignment(*paths, **asked).document)


def pairs(document: Mapping[str, Any]) -> list[Row]:
    """Return what is kept of each pair."""
    kept = ("value", "null_mean", "excess", "p", "p_adjusted")
    return [
        {
            "a": pair["a"].removesuffix(".npy"),
            "b": pair["b"].removesuffix(".npy"),
            "metric": pair["metric"],
            **{key: round(pair[key], DIGITS) for key in kept},
        }
        for pair in document["pairs"]
    ]


def excesses(document: Mapping[str, Any], metric: str) -> Matrix:
    """Return the excess of all pairs of models, in their order."""
    ids = [model["id"] for model in document["models"]]
    found = np.zeros((len(ids), len(ids)))
    for pair in document["pairs"]:
        if pair["metric"] == metric:
            i, j = ids.index(pair["a"]), ids.index(pair["b"])
            found[i, j] = found[j, i] = pair["excess"]
    return found


def cosines(X: Matrix) -> Matrix:
    X = X / np.linalg.norm(X, axis=1, keepdims=True)
    return X @ X.T


def ranked(D: Matrix) -> Matrix:
    """Return ranks of all pairs: Pearson's r of such is Spearman's."""
    i, j = np.triu_indices(len(D), 1)
    found = np.zeros_like(D)
    found[i, j] = found[j, i] = rankdata(D[i, j])
    return found


def related(A: Matrix, B: Matrix) -> tuple[float, float]:
    """Return Spearman's correlation of distances of all pairs, and its p."""
    found = mantel(ranked(A), ranked(B), np.random.default_rng(0))
    return round(found.value, DIGITS), found.p


def groups(X: Matrix, names: list[Any], draws: int = 9999) -> Row:
    """Return the mean of pairs of one group, of others, and p.

    One-sided: the share of orders of the models whose pairs within groups
    are as high, the order that there is among them.
    """
    i, j = np.triu_indices(len(X), 1)
    codes = np.unique(names, return_inverse=True)[1]
    rng = np.random.default_rng(0)

    def within(codes: NDArray[Any]) -> float:
        return float(X[i, j][codes[i] == codes[j]].mean())

    is_one = codes[i] == codes[j]
    value = within(codes)
    drawn = [within(rng.permutation(codes)) for _ in range(draws)]
    reached = np.count_nonzero(np.array(drawn) >= value - 1e-12)
    return {
        "pairs": int(is_one.sum()),
        "within": round(value, DIGITS),
        "between": round(float(X[i, j][~is_one].mean()), DIGITS),
        "p": (1 + reached) / (1 + draws),
    }
