"""Adapters projected onto directions of a population, as sums of members.

A projection along the model axis lies in the span of the members: it is given
by a weight for each, which follow from the Gram matrix of the members alone.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Projection:
    """An adapter in k directions of its population, the mean added back.

    Attributes
    ----------
    held_out
        Whether the adapter took no part in the mean and the directions.
    basis
        ``"leading"``, the first k; ``"secondary"``, the next k; ``"random"``,
        k of what the members span.
    """

    held_out: bool
    basis: str
    k: int


def weights(
    G: Array, i: int, how: Projection, rng: np.random.Generator
) -> tuple[Array, float, float]:
    """Return what an adapter becomes in one layer.

    Parameters
    ----------
    G
        Gram matrix (N, N) of the members.
    i
        Which of them is projected.
    how
        Onto what.
    rng
        Draws the random directions.

    Returns
    -------
    tuple
        The weight of each member (N); the squared length of the adapter's way
        from the mean within the directions, and the whole.
    """
    fit = [j for j in range(len(G)) if j != i or not how.held_out]
    n = len(fit)
    average = np.zeros(len(G))
    average[fit] = 1 / n
    away = np.eye(len(G))[fit] - average  # members less their mean, as rows
    values, vectors = np.linalg.eigh(away @ G @ away.T)
    K = (vectors[:, :0:-1] / np.sqrt(values[:0:-1])).T @ away  # orthonormal
    if how.basis == "random":
        K = np.linalg.qr(rng.normal(size=(n - 1, how.k)))[0].T @ K
    start = how.k if how.basis == "secondary" else 0
    K = K[start : start + how.k]
    way = np.eye(len(G))[i] - average
    inside = K @ G @ way
    return average + inside @ K, float(inside @ inside), float(way @ G @ way)
