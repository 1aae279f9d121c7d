"""Two populations, each held against the directions of the other.

Notes
-----
Labels are permuted over whole groups. The null is that the groups of both
populations deviate alike from their population's mean, so that every division
of the groups is as likely as the one observed. What is permuted are residuals
(Freedman and Lane 1983): deviations from each population's own mean, scaled to
one spread. Two means, or two strengths, are no difference between subspaces. A
small p says that the two are not parts of one population, be it for other
directions or for other noise around the same ones; what the directions hold of
the other tells these apart.

Residuals sum to zero: what is in the one part of a division is missing, with
the opposite sign, in the other, and unrelated parts would seem to overlap. So
before they are permuted the residuals of each population get a mean again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectra.linalg.solvers import eigh, solve
from spectra.statistics.model_axis.held_out import HeldOut
from spectra.statistics.populations.angles import Pair
from spectra.statistics.vectors import Deviations, Matrix, Vector, centred

__all__ = [
    "Crossing",
    "Divisions",
    "Held",
    "Labels",
    "Means",
    "Permuted",
    "cross",
    "divisions_of",
]

Labels = NDArray[np.int64]
Divisions = NDArray[np.bool_]

_TIE = 1e-9
"""Shares closer than this are rounding of one number."""

_FLAT = 1e-9
"""Directions with less than this of the largest are none."""

_FEWEST = 3
"""Of two groups residuals are opposite, and say nothing of their mean."""


@dataclass(frozen=True, slots=True)
class Permuted:
    """Shares beside those of random divisions of all groups.

    Attributes
    ----------
    levels
        The k of the columns.
    observed
        NaN where there are fewer directions.
    drawn
        (draws, levels); no row where nothing was drawn.
    """

    levels: tuple[int, ...]
    observed: Vector
    drawn: Matrix

    @property
    def p_lower(self) -> Vector:
        """Return (1 + draws at most as high) / (1 + draws)."""
        below = np.sum(self.drawn <= self.observed + _TIE, axis=0)
        return self._where_drawn((1.0 + below) / (1.0 + len(self.drawn)))

    @property
    def expected(self) -> Vector:
        """Return the mean over the draws."""
        total = self.drawn.sum(axis=0)
        return self._where_drawn(total / max(1, len(self.drawn)))

    def _where_drawn(self, values: Vector) -> Vector:
        known = ~np.isnan(self.observed) & bool(len(self.drawn))
        return np.where(known, values, np.nan)

    def standardised(self, levels: Sequence[int], /) -> tuple[Vector, Matrix]:
        """Return z of what was observed and of each draw, at some levels."""
        columns = [self.levels.index(k) for k in levels]
        drawn = self.drawn[:, columns]
        centre = drawn.mean(axis=0)
        spread = np.maximum(drawn.std(axis=0, ddof=1), _TIE)
        z = (self.observed[columns] - centre) / spread
        return z, (drawn - centre) / spread


@dataclass(frozen=True, slots=True)
class Held:
    """What the directions of one population hold of the other.

    Attributes
    ----------
    sums
        A row for each group of the other.
    captured
        The share of all its members' squared deviations.
    """

    sums: HeldOut
    captured: Permuted


@dataclass(frozen=True, slots=True)
class Means:
    r"""How far apart two means are.

    Attributes
    ----------
    distance
        :math:`\|m_a - m_b\|^2` over the mean squared deviation.
    expected
        What equal means would give on average.
    p
        (1 + draws at least as far apart) / (1 + draws); NaN for no draws.
    """

    distance: float
    expected: float
    p: float


@dataclass(frozen=True, slots=True)
class Crossing:
    """What two populations have in common in one layer.

    Attributes
    ----------
    levels
        The k asked for.
    cosines
        Of the principal angles, largest first, for each level; empty where a
        population has fewer directions.
    overlap
        tr(P_a P_b) / k.
    chance
        k / D, its expectation for random subspaces of R^D.
    of_b, of_a
        What a's directions hold of b, and b's of a.
    means
        The distance between them.
    """

    levels: tuple[int, ...]
    cosines: tuple[Vector, ...]
    overlap: Permuted
    chance: Vector
    of_b: Held
    of_a: Held
    means: Means


def cross(
    axis: Deviations,
    parts: tuple[Sequence[int], Sequence[int]],
    labels: Labels,
    /,
    *,
    levels: Sequence[int],
    divisions: Divisions,
) -> Crossing | None:
    """Return two populations of a layer beside each other.

    Parameters
    ----------
    axis
        The layer with all members.
    parts
        Places in it of the members of a and of b, two at least of each.
    labels
        The group of each of them, those of a first; none is in both.
    levels
        Numbers of directions.
    divisions
        `divisions_of` them, a draw each.

    Returns
    -------
    Crossing or None
        None where the members of a population do not differ.
    """
    a, b = parts
    places = np.array([*a, *b])
    K, n = axis.K[np.ix_(places, places)], len(a)
    pair = Pair.of(K, n)
    bases = pair.bases(len(K), axis.floor)
    if not (bases[0].size and bases[1].size):
        return None
    energies = axis.energies[places]
    drawn = _drawn(pair, labels, divisions, levels, axis.floor)
    overlap, *captured = (
        Permuted(tuple(levels), values, drawn[:, j])
        for j, values in enumerate(pair.shares(bases, levels))
    )
    held = pair.held(bases)
    of_b = _by_group(
        held[0], np.diagonal(pair.b), energies[n:], labels[n:],
        levels=levels, span=min(n - 1, axis.size),
    )  # fmt: skip
    of_a = _by_group(
        held[1], np.diagonal(pair.a), energies[:n], labels[:n],
        levels=levels, span=min(len(b) - 1, axis.size),
    )  # fmt: skip
    return Crossing(
        levels=tuple(levels),
        cosines=tuple(pair.cosines(bases, k) for k in levels),
        overlap=overlap,
        chance=np.array(levels) / axis.size,
        of_b=Held(of_b, captured[0]),
        of_a=Held(of_a, captured[1]),
        means=_means(K, pair, divisions),
    )


def _by_group(
    held: Matrix,
    deviation: Vector,
    energies: Vector,
    labels: Labels,
    *,
    levels: Sequence[int],
    span: int,
) -> HeldOut:
    """Return the sums over the members of each group.

    `span` is how many directions as many members as the other population has
    span. Those below the floor are noise and hold nothing, but a random
    subspace of the span has its part in them.
    """
    groups = dict.fromkeys(labels.tolist())
    of_group = np.array([labels == group for group in groups], dtype=float)
    powers = of_group @ held
    sums = np.cumsum(np.insert(powers, 0, 0.0, axis=1), axis=1)
    nothing = np.full(len(groups), np.nan)

    def first(k: int) -> Vector:
        return sums[:, k] if k < sums.shape[1] else nothing

    captured = np.stack([first(k) for k in levels], axis=1)
    twice = np.stack([first(2 * k) for k in levels], axis=1)
    random = sums[:, -1:] * np.array(levels) / span
    random[np.isnan(captured)] = np.nan
    return HeldOut(
        levels=tuple(levels),
        energy=of_group @ energies,
        deviation=of_group @ deviation,
        captured=captured,
        secondary=twice - captured,
        random=random,
        basis_only=np.full_like(captured, np.nan),
    )


def divisions_of(
    labels: Labels, n: int, draws: int, rng: np.random.Generator, /
) -> Divisions:
    """Return (draws, members): whether one is in the first of two parts.

    Parameters
    ----------
    labels
        The group of each member; whole groups are divided.
    n
        The first part gets as many groups as the first n members have.
    draws
        How many divisions.
    rng
        Draws them.
    """
    # By first appearance: whatever the groups' labels are.
    number = {label: i for i, label in enumerate(dict.fromkeys(labels))}
    group = np.array([number[label] for label in labels], dtype=np.int64)
    order = rng.permuted(np.tile(np.arange(len(number)), (draws, 1)), axis=1)
    return np.asarray(order[:, group] < len(set(labels[:n])))


def _drawn(
    pair: Pair,
    labels: Labels,
    divisions: Divisions,
    levels: Sequence[int],
    floor: float,
) -> NDArray[np.float64]:
    """Return (draws, 3, levels) shares of random divisions."""
    K, floor = _with_means(pair, labels), floor / min(pair.spreads)
    table = np.empty((len(divisions), 3, len(levels)))
    for row, first in zip(table, divisions, strict=True):
        order = np.argsort(~first, kind="stable")
        part = Pair.of(K[np.ix_(order, order)], int(first.sum()))
        shares = part.shares(part.bases(max(levels), floor), levels)
        row[:] = np.nan_to_num(shares)
    return table


def _with_means(pair: Pair, labels: Labels) -> Matrix:
    """Return inner products of all, of one spread, with means put back."""
    K, n = pair.at_one_spread(), len(pair.a)
    added, outside = np.eye(len(K)), np.zeros_like(K)
    for part in (slice(n), slice(n, None)):
        a, rest = _mean_of_unrelated(K[part, part], labels[part])
        added[part, part] += a
        outside[part, part] = rest
    return np.asarray(added @ K @ added.T + outside)


def _mean_of_unrelated(K: Matrix, labels: Labels) -> tuple[Vector, float]:
    r"""Return the mean that residuals would have, were groups unrelated.

    Parameters
    ----------
    K
        Inner products of the residuals of one population.
    labels
        The group of each.

    Returns
    -------
    a
        The residuals' combination that is the mean's part in their span.
    rest
        Squared length of its part in a direction of its own.

    Notes
    -----
    Were groups orthogonal to each other, inner products with their mean m
    would be :math:`\mu_i = \frac1n \sum_{j \in g(i)} \langle x_i, x_j
    \rangle`, with :math:`\langle x_i, x_j \rangle = K_{ij} + \mu_i + \mu_j -
    \|m\|^2` and :math:`\|m\|^2` the mean of the :math:`\mu_i`: a linear
    system, which three groups or more keep regular. The part in the span is
    :math:`R^\top a` with :math:`K a = \mu - \|m\|^2`.
    """
    n, alike = len(K), np.equal.outer(labels, labels).astype(float)
    if len(set(labels.tolist())) < _FEWEST:
        return np.zeros(n), 0.0
    size = alike.sum(axis=1)
    system = n * np.eye(n) - np.diag(size) - alike + size[:, None] / n
    mu = solve(system, np.sum(alike * K, axis=1))
    # No longer than a member: where groups are related mu can be anything.
    length = float(np.clip(mu.mean(), 0.0, np.trace(K) / n))
    values, V = eigh(K)
    kept = np.abs(values) > _FLAT * np.abs(values).max()
    V = V[:, kept]
    a = V @ (V.T @ (mu - mu.mean()) / values[kept])
    inside = float(a @ K @ a)
    if inside > length:
        a, inside = a * np.sqrt(length / inside), length
    return a, length - inside


def _means(K: Matrix, pair: Pair, divisions: Divisions) -> Means:
    n, total = len(pair.a), len(K)
    as_is = np.arange(total) < n
    observed, *drawn = _distances(K, np.vstack([as_is, divisions]))
    a, b = pair.spreads
    above = np.count_nonzero(np.array(drawn) >= observed - _TIE)
    return Means(
        distance=float(observed),
        expected=(a / n + b / (total - n)) / pair.pooled,
        p=float((1 + above) / (1 + len(drawn))) if drawn else float("nan"),
    )


def _distances(K: Matrix, divisions: Divisions) -> Vector:
    """Return what is between two means over what is within, by division."""
    n, first = len(K), divisions.astype(float)
    sizes = first.sum(axis=1, keepdims=True)
    weights = first / sizes - (1 - first) / (n - sizes)
    squared = np.sum((weights @ K) * weights, axis=1)
    between = squared * (sizes * (n - sizes))[:, 0] / n
    within = (np.trace(centred(K)) - between) / (n - 2)
    return np.asarray(squared / within)
