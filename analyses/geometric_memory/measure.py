"""How much of a graph's slow modes an embedding's strongest directions hold.

Both are of n nodes and have a mean of zero, so chance is that of random
subspaces of the n - 1 other dimensions.
"""

from dataclasses import dataclass

import numpy as np

from analyses.geometric_memory.graphs import Graph, Matrix
from spectra.align.representations.asked import Asked, Order, Score
from spectra.align.representations.correlations import basis
from spectra.align.representations.linear import cross
from spectra.align.representations.null import measured
from spectra.statistics.chance import random_overlap

DRAWS = 199


@dataclass(frozen=True)
class Overlaps:
    """Shares of the k strongest directions.

    Attributes
    ----------
    slow, twins
        In the k slowest modes, and in their twins.
    quarter
        In the slowest quarter of all modes.
    """

    slow: float
    twins: float
    quarter: float


def strongest(X: Matrix, k: int) -> Matrix:
    """Return the k strongest directions (n, k) of an embedding (n, d)."""
    return basis(X, Asked()).Q[:, :k]


def score(U: Matrix, V: Matrix) -> Score:
    """Return the share of U in V, orthonormal both, of nodes in an order."""

    def share(order: Order) -> float:
        return float((cross(U, V, order) ** 2).sum()) / U.shape[1]

    return share


def share(U: Matrix, V: Matrix) -> float:
    return score(U, V)(np.arange(len(U)))


def overlaps(X: Matrix, graph: Graph) -> Overlaps:
    """Return what the strongest directions of an embedding hold."""
    U = strongest(X, graph.k)
    some = (graph.slow, graph.twins, graph.quarter)
    return Overlaps(*(share(U, V) for V in some))


def p_of(X: Matrix, graph: Graph, seed: int) -> float:
    """Return p of the overlap with the slow modes, nodes being permuted."""
    held = score(strongest(X, graph.k), graph.slow)
    found = measured(
        held, (0, 0), graph.n, draws=DRAWS, seed=seed, told=lambda: None
    )
    return found.p


def chance(graph: Graph) -> tuple[float, float]:
    """Return mean and standard deviation of the overlap by chance."""
    return random_overlap(graph.k, graph.k, graph.n - 1)
