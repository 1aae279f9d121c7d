"""Alignment of Gaussian kernels, by blocks of their rows."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.align.representations.asked import Asked, Order, Score

__all__ = ["Kernel", "cka_rbf", "cka_rbf_debiased", "rbf"]

Array = NDArray[Any]
_BLOCK = 2**23
"""Entries of a kernel that are made at once."""

_HELD = 4096
"""Items up to which a kernel is held whole; beyond, it is made again."""

_SAMPLE = 1000
"""Items, evenly spread, whose distances the width is the median of."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """``exp(-distance**2 / (2 width**2))`` of each pair of items.

    Attributes
    ----------
    X
        Features less their mean.
    squares
        Squared length of each row.
    width
        The median distance of two items.
    held
        All of it; None where it is made as it is needed.
    sums
        Of its rows, without the diagonal.
    """

    X: Array
    squares: Array
    width: float
    held: Array | None
    sums: NDArray[np.float64]

    @property
    def nbytes(self) -> int:
        """Return the memory it takes."""
        held = 0 if self.held is None else self.held.nbytes
        return self.X.nbytes + self.sums.nbytes + held

    def block(self, order: Order, rows: slice, /) -> Array:
        """Return some rows of the kernel of items in an order; diagonal 0."""
        if self.held is not None:
            some: Array = self.held[order[rows][:, None], order]
            return some
        items = order[rows]
        found: Array = _gaussian(
            self.X[items] @ self.X[order].T,
            self.squares[items],
            self.squares[order],
            self.width,
        )
        found[np.arange(len(items)), np.arange(len(order))[rows]] = 0
        return found


def rbf(X: Array, _: Asked, /) -> Kernel:
    """Return the Gaussian kernel of features (n, d).

    Its width is the median distance of two items (Kornblith et al. 2019): of
    all up to a thousand items, else of a thousand of them, evenly spread.
    """
    n = len(X)
    X = X - X.mean(axis=0, dtype=np.float64).astype(X.dtype)
    squares = np.einsum("ij,ij->i", X, X)
    bare = Kernel(X, squares, _width(X), None, np.zeros(n))
    sums = np.empty(n)
    held = np.empty((n, n), X.dtype) if n <= _HELD else None
    here = np.arange(n)
    for rows in _blocks(n):
        block = bare.block(here, rows)
        sums[rows] = block.sum(axis=1, dtype=np.float64)
        if held is not None:
            held[rows] = block
    return Kernel(X, squares, bare.width, held, sums)


def cka_rbf(a: Kernel, b: Kernel, /) -> Score:
    """Return the centred alignment of Gaussian kernels."""
    return _alignment(a, b, _covariance)


def cka_rbf_debiased(a: Kernel, b: Kernel, /) -> Score:
    """Return that alignment by estimates without bias (Song et al. 2012)."""
    return _alignment(a, b, _without_bias)


Estimate = Callable[[float, Array, Array], float]


def _alignment(a: Kernel, b: Kernel, estimate: Estimate) -> Score:
    here = np.arange(len(a.sums))
    own = [
        estimate(_product(each, each, here), each.sums, each.sums)
        for each in (a, b)
    ]
    scale = np.sqrt(own[0] * own[1])

    def score(order: Order) -> float:
        product = _product(a, b, order)
        return float(estimate(product, a.sums, b.sums[order]) / scale)

    return score


def _product(a: Kernel, b: Kernel, order: Order) -> float:
    """Return the sum of products of entries off the diagonal."""
    here = np.arange(len(order))
    total = 0.0
    for rows in _blocks(len(order)):
        x, y = a.block(here, rows), b.block(order, rows)
        by_row = np.einsum("ij,ij->i", x, y)
        total += float(by_row.sum(dtype=np.float64))
    return total


def _covariance(product: float, a: Array, b: Array) -> float:
    """Return n**2 times the biased estimate; the diagonals are 1."""
    n = len(a)
    a, b = a + 1, b + 1
    return float(product + n - 2 * (a @ b) / n + a.sum() * b.sum() / n**2)


def _without_bias(product: float, a: Array, b: Array) -> float:
    """Return n (n - 3) times the estimate without bias."""
    n = len(a)
    whole = a.sum() * b.sum() / ((n - 1) * (n - 2))
    return float(product + whole - 2 * (a @ b) / (n - 2))


def _width(X: Array) -> float:
    step = -(-len(X) // _SAMPLE)
    some = X[::step].astype(np.float64)
    squares = np.einsum("ij,ij->i", some, some)
    above = np.triu_indices(len(some), 1)
    distances = squares[:, None] + squares - 2 * (some @ some.T)
    return float(np.sqrt(max(np.median(distances[above]), 0.0)))


def _gaussian(inner: Array, rows: Array, columns: Array, width: float) -> Any:
    distance = np.maximum(rows[:, None] + columns - 2 * inner, 0)
    return np.exp(distance / np.asarray(-2 * width**2, distance.dtype))


def _blocks(n: int) -> Iterator[slice]:
    step = max(1, _BLOCK // n)
    return (slice(start, start + step) for start in range(0, n, step))
