"""The slow, literal twin of the change points: explicit vectors, all loops."""

from itertools import permutations

import numpy as np

__all__ = ["best_division", "exact_p", "scatter"]


def scatter(vectors):
    """Return the sum of squares about the mean, one vector at a time."""
    mean = sum(vectors) / len(vectors)
    return sum(float(np.dot(x - mean, x - mean)) for x in vectors)


def best_division(vectors, part=3):
    """Return (first vector of the second part, what it takes off)."""
    found = {
        at: scatter(vectors) - scatter(vectors[:at]) - scatter(vectors[at:])
        for at in range(part, len(vectors) - part + 1)
    }
    at = max(found, key=found.__getitem__)
    return at, found[at]


def exact_p(vectors, part=3):
    """Return the share of all orders whose best division takes off as much."""
    _, observed = best_division(vectors, part)
    orders = list(permutations(vectors))
    reached = [best_division(o, part)[1] >= observed - 1e-9 for o in orders]
    return np.mean(reached)
