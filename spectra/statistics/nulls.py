"""Populations without shared directions, drawn as Gram matrices.

A new null is one function and one row of `NULLS`.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectra.statistics.measures import evr
from spectra.statistics.vectors import Deviations

__all__ = [
    "NULLS",
    "Null",
    "NullDraws",
    "adjusted_p",
    "draw_null",
    "generator",
    "unrelated",
]

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]
Draw = Callable[[Vector, int, int, np.random.Generator], Matrix]

_TIE = 1e-12
"""Shares closer than this are rounding of one number."""

_BATCH_BYTES = 2**25


def generator(seed: int, /, *names: str) -> np.random.Generator:
    """Return a stream of random numbers of its own for each seed and names."""
    digest = hashlib.sha256("\0".join(names).encode("utf-8", "replace"))
    words = np.frombuffer(digest.digest(), dtype=">u4")
    return np.random.default_rng([seed, *words.tolist()])


def unrelated(
    n: int, size: int, draws: int, rng: np.random.Generator, /
) -> Matrix:
    """Return (draws, n, n) cosines of n random directions in R^size.

    Notes
    -----
    Bartlett's decomposition: the Gram matrix of n Gaussian vectors is L L^T
    with L lower triangular, standard normal below its diagonal and chi of
    size, size - 1, ... degrees on it; then scaled to a unit diagonal. Means,
    variances 1 / size and mean triple products 1 / size^2 are those of
    Haar-rotated maps Q x R, whatever their spectrum, and no draw has negative
    eigenvalues, however many members there are.
    """
    width = min(n, size)
    L = np.tril(rng.standard_normal((draws, n, width)), -1)
    diagonal = np.arange(width)
    squares = rng.chisquare(size - diagonal, (draws, width))
    L[:, diagonal, diagonal] = np.sqrt(squares)
    L /= np.linalg.norm(L, axis=2, keepdims=True)
    return L @ L.transpose(0, 2, 1)


def _strength(
    lengths: Vector, size: int, draws: int, rng: np.random.Generator, /
) -> Matrix:
    cosines = unrelated(len(lengths), size, draws, rng)
    return np.outer(lengths, lengths) * cosines


@dataclass(frozen=True, slots=True)
class Null:
    """A way to draw populations that share nothing.

    Attributes
    ----------
    keeps
        What its draws have in common with the population.
    grams
        Returns (draws, N, N) uncentred Gram matrices, given the members'
        deviation norms, the number of entries, how many, and a stream.
    """

    name: str
    keeps: str
    grams: Draw


NULLS = (
    Null("strength", "the members' norms and the layer's size", _strength),
)


@dataclass(frozen=True, slots=True)
class NullDraws:
    """One layer beside what a null made of it.

    Attributes
    ----------
    levels
        The k of the columns.
    observed
        EVR of the layer.
    drawn
        EVR of each draw, (draws, levels).
    """

    levels: tuple[int, ...]
    observed: Vector
    drawn: Matrix

    @property
    def p(self) -> Vector:
        """Return (1 + draws at least as high) / (1 + draws)."""
        above: Vector = np.sum(self.drawn >= self.observed - _TIE, axis=0)
        return (1.0 + above) / (1.0 + len(self.drawn))

    def standardised(self, k: int, /) -> tuple[float, Vector]:
        """Return z of the layer and of each draw at level k."""
        column = self.levels.index(k)
        drawn = self.drawn[:, column]
        centre, spread = drawn.mean(), float(drawn.std(ddof=1))
        if spread < _TIE:
            return 0.0, np.zeros_like(drawn)
        excess = self.observed[column] - centre
        return float(excess / spread), (drawn - centre) / spread


def draw_null(
    null: Null,
    axis: Deviations,
    levels: Sequence[int],
    /,
    *,
    draws: int,
    rng: np.random.Generator,
) -> NullDraws | None:
    """Return the layer beside a null, at the levels it has; None for none.

    Parameters
    ----------
    null
        How to draw.
    axis
        The layer.
    levels
        The k asked for.
    draws
        How many.
    rng
        The layer's own stream.
    """
    possible = tuple(k for k in levels if k <= axis.n - 1)
    if axis.squared_norms is None or not axis.is_resolved or not possible:
        return None
    lengths = np.sqrt(axis.squared_norms)
    batch = max(1, _BATCH_BYTES // (8 * axis.n**2))
    drawn = [
        _evr_of(null.grams(lengths, axis.size, number, rng))
        for number in _batches(draws, batch)
    ]
    columns = np.array(possible) - 1
    shares = np.concatenate(drawn)[:, columns]
    return NullDraws(possible, evr(axis, possible), shares)


def _batches(total: int, batch: int) -> Iterator[int]:
    for start in range(0, total, batch):
        yield min(batch, total - start)


def _evr_of(grams: Matrix) -> Matrix:
    rows = grams.mean(axis=1)
    K = grams - rows[:, None, :] - rows[:, :, None]
    K += rows.mean(axis=1)[:, None, None]
    values = np.maximum(0.0, np.linalg.eigvalsh(K)[:, :0:-1])
    sums: Matrix = np.cumsum(values, axis=1)
    return sums / sums[:, -1:]


def adjusted_p(layers: Sequence[NullDraws | None], k: int, /) -> list[float]:
    """Return each layer's p at level k, adjusted for the number of layers.

    NaN for a layer that does not have the level. Westfall and Young's max-T
    in one step: a layer's z against the highest z of any layer in each draw.
    """
    adjusted = [float("nan")] * len(layers)
    scores = {
        i: null.standardised(k)
        for i, null in enumerate(layers)
        if null is not None and k in null.levels
    }
    if scores:
        highest = np.max([drawn for _, drawn in scores.values()], axis=0)
        for i, (z, _) in scores.items():
            above = np.count_nonzero(highest >= z - 1e-9)
            adjusted[i] = float((1 + above) / (1 + len(highest)))
    return adjusted
