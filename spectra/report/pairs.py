"""Pairs of checkpoints: overlaps and cosines, their tree, their packing."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.cluster import hierarchy
from scipy.spatial import distance

from spectra.subspaces.result import LayerFit

__all__ = [
    "DECIMALS",
    "MEASURES",
    "Measure",
    "Tree",
    "clustered",
    "coded",
    "elbows",
    "pack",
    "pair_values",
    "tree",
]

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]

DECIMALS = 9
"""Of these ratios: finer than the arithmetic behind them."""

UNDEFINED = 65535
"""The code of a pair without a value; 0 to 65534 are the measure's range."""


class Tree(NamedTuple):
    """Members in an order in which those of each branch stand together.

    Attributes
    ----------
    order
        Of the N members.
    joins
        N - 1 values: at which each is joined with the next of the order. They
        are all that there is to the tree: a branch is a stretch of the order
        without a lower value inside than at its ends.
    """

    order: list[int]
    joins: Vector


@dataclass(frozen=True, slots=True)
class Measure:
    """Something that is known of every pair of members of a layer.

    Attributes
    ----------
    matrix
        N x N values, NaN where undefined.
    chance
        N x N: what unrelated members would have on average.
    low
        Smallest value there can be; the largest is 1.
    """

    key: str
    title: str
    low: float
    matrix: Callable[[LayerFit], Matrix]
    chance: Callable[[LayerFit], Matrix]


def _cosines(layer: LayerFit) -> Matrix:
    gram = layer.gram
    norms = np.sqrt(np.clip(np.diagonal(gram), 0.0, None))
    return _ratio(gram, np.outer(norms, norms), low=-1.0)


def _overlap_on(side: str) -> Callable[[LayerFit], Matrix]:
    def matrix(layer: LayerFit) -> Matrix:
        smaller = np.minimum.outer(layer.ranks, layer.ranks).astype(float)
        overlap: Matrix = getattr(layer, side).overlap
        return _ratio(overlap, smaller, low=0.0)

    return matrix


def _chance_on(axis: int) -> Callable[[LayerFit], Matrix]:
    # For random subspaces E||U'V||^2 = q_i q_j / d; divided by min(q_i, q_j).
    def matrix(layer: LayerFit) -> Matrix:
        larger = np.maximum.outer(layer.ranks, layer.ranks)
        chance: Matrix = larger / float(layer.shape[axis])
        return chance

    return matrix


def _no_cosine(layer: LayerFit) -> Matrix:
    return np.zeros_like(layer.inner)


def _ratio(values: Matrix, scale: Matrix, /, *, low: float) -> Matrix:
    ratio = np.full(values.shape, np.nan)
    np.divide(values, scale, out=ratio, where=scale > 0)
    clipped: Matrix = np.clip(ratio, low, 1.0)
    return clipped


MEASURES = (
    Measure("cosine", "Cosine of the updates", -1.0, _cosines, _no_cosine),
    Measure(
        "output_overlap", "Output overlap", 0.0,
        _overlap_on("output"), _chance_on(0),
    ),
    Measure(
        "input_overlap", "Input overlap", 0.0,
        _overlap_on("input"), _chance_on(1),
    ),
)  # fmt: skip


def pair_values(
    layer: LayerFit, /
) -> tuple[NDArray[np.int64], NDArray[np.int64], list[Vector]]:
    """Return i, j (i < j) and, for each measure, its values and chance levels.

    Undefined values are NaN.
    """
    i, j = np.triu_indices(len(layer.members), 1)
    columns = [
        matrix[i, j]
        for measure in MEASURES
        for matrix in (measure.matrix(layer), measure.chance(layer))
    ]
    return i, j, columns


def tree(matrix: Matrix, /) -> Tree:
    """Return the tree of average linkage, similar members side by side.

    Two branches join at one (or the highest value, where that is more) less
    the mean value between their members; leaves are ordered so that
    neighbours are as similar as the tree allows; an undefined value counts as
    zero.
    """
    n = len(matrix)
    if n < 2:
        return Tree(list(range(n)), np.empty(0))
    alike = np.nan_to_num(matrix, nan=0.0)
    alike = (alike + alike.T) / 2
    np.fill_diagonal(alike, -np.inf)
    top = max(1.0, alike.max())
    np.fill_diagonal(alike, top)
    condensed = distance.squareform(top - alike, checks=False)
    merged = hierarchy.linkage(condensed, "average", optimal_ordering=n > 2)
    order = hierarchy.leaves_list(merged)
    heights = distance.squareform(hierarchy.cophenet(merged))
    return Tree(order.tolist(), top - heights[order[:-1], order[1:]])


def clustered(matrix: Matrix, /) -> list[int]:
    """Return the order of members in their `tree`."""
    return tree(matrix).order


def elbows(joins: Vector, /) -> NDArray[np.float64]:
    """Return each join of a tree as a line of four points.

    Parameters
    ----------
    joins
        N - 1 values, as in `Tree`; leaf i stands at x = i.

    Returns
    -------
    array
        (N - 1, 4, 2) points x, y, from the foot of the left branch to that of
        the right one; y is the value at which branches join, NaN at a leaf.
    """
    n = len(joins) + 1
    # Branches by the leaf at their left end, and by that at their right end.
    left = [(float(i), np.nan, i, i) for i in range(n)]
    right = list(left)
    lines = np.empty((n - 1, 4, 2))
    for at, gap in enumerate(np.argsort(-joins, kind="stable")):
        (x1, y1, first, _), (x2, y2, _, last) = right[gap], left[gap + 1]
        y = float(joins[gap])
        lines[at] = (x1, y1), (x1, y), (x2, y), (x2, y2)
        left[first] = right[last] = ((x1 + x2) / 2, y, first, last)
    return lines


def pack(matrix: Matrix, /, *, low: float) -> str:
    """Return the strict upper triangle, row by row, as base64 of uint16.

    ``low`` to 1 becomes 0 to 65534, little-endian; undefined is `UNDEFINED`.
    """
    return coded(matrix[np.triu_indices(len(matrix), 1)], low=low)


def coded(values: Matrix, /, *, low: float) -> str:
    """Return values from `low` to 1 as base64 of uint16, NaN as undefined."""
    steps = np.round((values - low) / (1.0 - low) * (UNDEFINED - 1))
    codes = np.nan_to_num(steps, nan=UNDEFINED).astype("<u2")
    return base64.b64encode(codes.tobytes()).decode("ascii")
