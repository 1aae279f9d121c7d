"""Three graphs of 64 nodes, and the slow modes of each."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from spectra.linalg.solvers import eigh

Matrix = NDArray[np.float64]

DIRECTIONS = (6, 7, 8)


@dataclass(frozen=True)
class Graph:
    """A connected graph of two colours.

    Attributes
    ----------
    adjacency
        (n, n), symmetric, of zeros and ones.
    colours
        n signs; neighbours have different ones.
    """

    name: str
    adjacency: Matrix
    colours: NDArray[np.float64]

    @property
    def n(self) -> int:
        return len(self.adjacency)

    @cached_property
    def modes(self) -> tuple[Matrix, Matrix]:
        """Return the Laplacian's eigenvalues, ascending, and eigenvectors.

        Without the first, which is 0 and constant.
        """
        A = self.adjacency
        values, vectors = eigh(np.diag(A.sum(axis=0)) - A)
        return values[1:], vectors[:, 1:]

    @property
    def gaps(self) -> dict[int, float]:
        """Return by k how many times the k-th eigenvalue the next one is."""
        values, _ = self.modes
        return {k: float(values[k] / values[k - 1]) for k in DIRECTIONS}

    @cached_property
    def k(self) -> int:
        """Return the k of the widest gap, which parts no equal eigenvalues."""
        gaps = self.gaps
        return max(gaps, key=lambda k: gaps[k])

    @cached_property
    def slow(self) -> Matrix:
        """Return the k slowest modes, (n, k)."""
        return self.modes[1][:, : self.k]

    @cached_property
    def quarter(self) -> Matrix:
        """Return the slowest quarter of all modes."""
        return self.modes[1][:, : (self.n - 1) // 4]

    @cached_property
    def twins(self) -> Matrix:
        """Return them with the sign of the colours, which alternates."""
        return self.colours[:, None] * self.slow


def of_edges(name: str, edges: Iterable[tuple[int, int]]) -> Graph:
    """Return the connected graph of edges (i, j) between 0, 1, ..."""
    i, j = np.array(list(edges)).T
    n = int(max(i.max(), j.max())) + 1
    A = np.zeros((n, n))
    A[i, j] = A[j, i] = 1
    colours = np.zeros(n)
    colours[0] = 1
    while not colours.all():
        colours = np.where(colours == 0, -np.sign(A @ colours), colours)
    return Graph(name, A, colours)


def path_star(arms: int, length: int) -> Graph:
    """Return paths that begin at node 0."""
    return of_edges(
        "path-star",
        (
            (1 + length * arm + i - 1 if i else 0, 1 + length * arm + i)
            for arm in range(arms)
            for i in range(length)
        ),
    )


def grid(side: int) -> Graph:
    here = range(side * side)
    right = ((i, i + 1) for i in here if (i + 1) % side)
    down = ((i, i + side) for i in here[: -side or None])
    return of_edges("grid", (*right, *down))


def cycle(n: int) -> Graph:
    return of_edges("cycle", ((i, (i + 1) % n) for i in range(n)))


GRAPHS = (path_star(9, 7), grid(8), cycle(64))
