"""Pairs of checkpoints: overlaps and cosines, their order, their packing."""

import base64
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster import hierarchy
from scipy.spatial import distance

from spectra.subspaces.result import LayerFit

__all__ = [
    "DECIMALS",
    "MEASURES",
    "Measure",
    "clustered",
    "coded",
    "pack",
    "pair_values",
]

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]

DECIMALS = 9
"""Of these ratios: finer than the arithmetic behind them."""

UNDEFINED = 65535
"""The code of a pair without a value; 0 to 65534 are the measure's range."""


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


def clustered(matrix: Matrix, /) -> list[int]:
    """Return an order of the members that brings similar ones together.

    Average linkage on one (or the highest value, where that is more) less the
    value, leaves ordered so that neighbours are as similar as the tree allows;
    an undefined value counts as zero.
    """
    if len(matrix) < 3:
        return list(range(len(matrix)))
    alike = np.nan_to_num(matrix, nan=0.0)
    apart = max(1.0, alike.max()) - alike
    np.fill_diagonal(apart, 0.0)
    apart = (apart + apart.T) / 2
    condensed = distance.squareform(apart, checks=False)
    tree = hierarchy.linkage(condensed, "average", optimal_ordering=True)
    return [int(leaf) for leaf in hierarchy.leaves_list(tree)]


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
