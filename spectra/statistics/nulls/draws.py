"""One layer beside one null: what was observed, and what was drawn."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.linalg.solvers import eigvalsh
from spectra.statistics import measures
from spectra.statistics.vectors import Deviations, deviation_norms
from spectra.subspaces.result import LayerFit

__all__ = [
    "EVR",
    "UNIT_NORM_EVR",
    "Members",
    "Null",
    "NullDraws",
    "Statistic",
    "draw_null",
]

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]
Levels = Sequence[int]

Sampler = Callable[[int, np.random.Generator], Matrix]
"""Returns (draws, N, N) uncentred Gram matrices."""

_TIE = 1e-12
"""Shares closer than this are rounding of one number."""

_BATCH_BYTES = 2**23


@dataclass(frozen=True, slots=True)
class Members:
    """What a null may know of a layer's members.

    Attributes
    ----------
    axis
        Their deviations, in the order of their ids.
    layer
        In the order of the population.
    are_updates
        False for whole weights, which hold a common start.
    """

    axis: Deviations
    layer: LayerFit
    are_updates: bool

    def ordered(self, values: NDArray[Any], /) -> NDArray[Any]:
        """Return an N or N x N array of the layer in the axis's order."""
        place = {member: i for i, member in enumerate(self.layer.members)}
        order = [place[member] for member in self.axis.members]
        return values[np.ix_(*[order] * values.ndim)]


@dataclass(frozen=True, slots=True)
class Statistic:
    """What is compared: one function of a layer, and of drawn layers.

    Attributes
    ----------
    observed
        Of the layer, at some levels; NaN where it has no value.
    drawn
        Of uncentred draws (draws, N, N) of the layer, (draws, levels); the
        draws may be written over.
    """

    name: str
    observed: Callable[[Deviations, Levels], Vector]
    drawn: Callable[[Matrix, Deviations, Levels], Matrix]


def _centred(grams: Matrix) -> Matrix:
    """Return them less their means, in their own memory."""
    rows = grams.mean(axis=1)
    grams -= rows[:, None, :]
    grams -= (rows - rows.mean(axis=1)[:, None])[:, :, None]
    return grams


def _evr(grams: Matrix, _: Deviations, levels: Levels) -> Matrix:
    values = eigvalsh(_centred(grams))[:, :0:-1]
    sums: Matrix = np.cumsum(np.maximum(0.0, values), axis=1)
    return (sums / sums[:, -1:])[:, np.array(levels) - 1]


def _unit_norm_evr(grams: Matrix, axis: Deviations, levels: Levels) -> Matrix:
    """Return `unit_norm_evr` of the draws, without whom the layer lacks."""
    kept = np.array(axis.squared_norms) > axis.floor
    rows = []
    for K in _centred(grams):
        norms = np.array(deviation_norms(K)) * kept
        drawn = replace(axis, K=K, squared_norms=norms)
        rows.append(measures.unit_norm_evr(drawn, levels))
    # Fewer members leave so few directions that they hold everything.
    return np.nan_to_num(np.array(rows), nan=1.0)


EVR = Statistic("evr", measures.evr, _evr)
UNIT_NORM_EVR = Statistic(
    "unit_norm_evr", measures.unit_norm_evr, _unit_norm_evr
)


@dataclass(frozen=True, slots=True)
class Null:
    """A way to draw populations that share nothing.

    Attributes
    ----------
    keeps
        What its draws have in common with the population.
    cite
        Where the way to draw is from; docs/references.md has the titles.
    statistic
        What of the draws is held against the layer.
    grams
        Returns a sampler, or why there is none for these members.
    """

    name: str
    keeps: str
    cite: str
    statistic: Statistic
    grams: Callable[[Members], Sampler | str]


@dataclass(frozen=True, slots=True)
class NullDraws:
    """One layer beside what a null made of it.

    Attributes
    ----------
    levels
        The k of the columns.
    observed
        The null's statistic of the layer.
    drawn
        The same of each draw, (draws, levels).
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
    members: Members,
    levels: Levels,
    /,
    *,
    draws: int,
    rng: np.random.Generator,
) -> NullDraws | str:
    """Return a layer beside a null, at the levels it has; or why not.

    Parameters
    ----------
    null
        How to draw.
    members
        Of the layer.
    levels
        The k asked for.
    draws
        How many.
    rng
        The layer's and the null's own stream.
    """
    axis, statistic = members.axis, null.statistic
    if axis.n < 3 or not axis.is_resolved:
        return "a null needs at least three members, and members that differ"
    sampler = null.grams(members)
    if isinstance(sampler, str):
        return sampler
    observed = statistic.observed(axis, levels)
    known = np.isfinite(observed)
    if not known.any():
        return "the layer has no such value at these levels"
    possible = tuple(np.array(levels)[known].tolist())
    batch = max(1, _BATCH_BYTES // (8 * axis.n**2))
    drawn = [
        statistic.drawn(sampler(number, rng), axis, possible)
        for number in _batches(draws, batch)
    ]
    return NullDraws(possible, observed[known], np.concatenate(drawn))


def _batches(total: int, batch: int) -> Iterator[int]:
    for start in range(0, total, batch):
        yield min(batch, total - start)
