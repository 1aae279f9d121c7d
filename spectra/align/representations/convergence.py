"""Whether models with a higher score are more aligned with the others.

That alignment grows with competence is what Huh et al. (2024) rest convergence
on.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from spectra.align.representations.relabelled import (
    Orders,
    Relabelled,
    relabelled,
)

__all__ = ["POINTS", "RESAMPLES", "Line", "alignments", "follows", "line_of"]

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]

RESAMPLES = 2000
POINTS = 32
"""Scores, evenly spread, at which a line's band is told."""

_BAND = 2.5, 97.5


@dataclass(frozen=True, slots=True)
class Line:
    """Alignment by score with the least squares, and its band.

    Attributes
    ----------
    at
        Scores, from the lowest to the highest.
    low, high
        Between them lie 95 % of the resampled lines, at each of these scores
        by itself.
    """

    slope: float
    intercept: float
    at: Vector
    low: Vector
    high: Vector


def alignments(excess: Matrix, /) -> Vector:
    """Return each model's mean over the others.

    Parameters
    ----------
    excess
        (n, n), symmetric; its diagonal is not looked at.
    """
    means: Vector = _means(excess, np.ones((1, len(excess))))[0]
    return means


def follows(
    alignment: Vector, scores: Vector, rng: np.random.Generator, /
) -> Relabelled:
    """Return Spearman's correlation, and that of scores in other orders.

    Alignments share pairs. A score that has nothing to do with them could be
    any model's all the same: the pairs stay, scores are permuted.

    Parameters
    ----------
    alignment, scores
        One a model; scores not all equal.
    rng
        Draws orders, where there are too many for all of them.
    """
    x, y = _ranks(alignment), _ranks(scores)

    def of(orders: Orders) -> Vector:
        rho: Vector = y[orders] @ x
        return rho

    return relabelled(of, len(x), rng, size=len(x))


def line_of(
    excess: Matrix, scores: Vector, rng: np.random.Generator, /
) -> Line:
    """Return alignment by score with the least squares, and its band.

    Parameters
    ----------
    excess
        (n, n), symmetric; its diagonal is not looked at.
    scores
        One a model, not all equal.
    rng
        Draws resamples.

    Notes
    -----
    Models are resampled, and their alignments taken anew among those that
    were drawn; a model and its copy are no pair. Two models have one
    alignment, which makes a flat line: a resample of fewer than three models,
    or of one score, is not counted.
    """
    n = len(scores)
    slope, intercept = _lines(excess, scores, np.ones((1, n)))
    often = rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(float)
    slopes, intercepts = _lines(excess, scores, often[_counts(often, scores)])
    at = np.linspace(scores.min(), scores.max(), POINTS)
    heights = intercepts[:, None] + slopes[:, None] * at
    low, high = np.percentile(heights, _BAND, axis=0)
    return Line(float(slope[0]), float(intercept[0]), at, low, high)


def _counts(often: Matrix, scores: Vector) -> NDArray[np.bool_]:
    drawn = often > 0
    lowest = np.where(drawn, scores, np.inf).min(axis=1)
    highest = np.where(drawn, scores, -np.inf).max(axis=1)
    counts: NDArray[np.bool_] = (drawn.sum(axis=1) > 2) & (lowest < highest)
    return counts


def _means(excess: Matrix, often: Matrix) -> Matrix:
    """Return each model's mean over the others of each resample."""
    apart = excess.copy()
    np.fill_diagonal(apart, 0)
    others = often.sum(axis=1, keepdims=True) - often
    means: Matrix = (often @ apart) / others
    return means


def _lines(
    excess: Matrix, scores: Vector, often: Matrix
) -> tuple[Vector, Vector]:
    """Return slopes and intercepts, one of each resample."""
    shares = often / often.sum(axis=1, keepdims=True)
    y = _means(excess, often)
    middle_x, middle_y = shares @ scores, (shares * y).sum(axis=1)
    x = scores - middle_x[:, None]
    slopes = (shares * x * y).sum(axis=1) / (shares * x**2).sum(axis=1)
    return slopes, middle_y - slopes * middle_x


def _ranks(x: Vector) -> Vector:
    """Return ranks of mean 0 and length 1; NaN where all are equal."""
    away = rankdata(x) - (len(x) + 1) / 2
    length = np.linalg.norm(away)
    found: Vector = away / (length or np.nan)
    return found
