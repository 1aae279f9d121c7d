"""Parts and resamples of a population, each centred on itself.

A direction of a part is a combination of its members, so that inner products
are all that is needed to compare parts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectra.linalg.solvers import eigh, eigvalsh
from spectra.statistics.measures import evr, explained, participation_ratio
from spectra.statistics.vectors import Deviations, Matrix, Vector, centred

__all__ = [
    "Bootstrap",
    "Interval",
    "Order",
    "Part",
    "Places",
    "bootstrap",
    "captured",
    "overlaps",
    "parts",
]

Levels = Sequence[int]
Places = NDArray[np.int64]
Order = Sequence[Places]
"""Whole groups, one after another."""

_TOGETHER = 8
"""Parts, or resamples, whose eigenvalues are found in one call."""

_LOW, _HIGH = 2.5, 97.5


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the members, around their own mean.

    Attributes
    ----------
    places
        Their rows of K.
    energy
        Sum of their squared deviations.
    eigenvalues
        The leading ones of their inner products, largest first.
    coefficients
        The combinations of members that are the leading directions, one a
        column; directions below the floor have none.
    """

    places: Places
    energy: float
    eigenvalues: Vector
    coefficients: Matrix

    def gap(self, k: int, /) -> float:
        """Return lambda_k - lambda_k+1 of (1/n) sum (x - m)(x - m)^T."""
        above, below = self.eigenvalues[k - 1 : k + 1]
        return float(above - below) / len(self.places)


def parts(
    cases: Sequence[tuple[Matrix, Places]], count: int, /, *, floor: float
) -> list[Part]:
    """Return parts with their leading directions.

    Parameters
    ----------
    cases
        Inner products of all members, about any origin, and the rows of those
        in the part. Parts of nearly one size stand next to each other.
    count
        How many directions, of the n - 1 that n members have.
    floor
        Directions with less are noise.

    Notes
    -----
    Of one matrix of up to 500 rows NumPy keeps every other thread waiting, and
    SciPy always does: some go together, as large as the largest of them.
    """
    found = []
    for start in range(0, len(cases), _TOGETHER):
        batch = cases[start : start + _TOGETHER]
        size = max(len(places) for _, places in batch)
        stack = np.zeros((len(batch), size, size))
        for inner, (K, places) in zip(stack, batch, strict=True):
            n = len(places)
            inner[:n, :n] = centred(K[np.ix_(places, places)])
        energies = np.trace(stack, axis1=1, axis2=2).tolist()
        spectra, bases = eigh(stack)
        for i, (_, places) in enumerate(batch):
            n = len(places)
            leading = slice(None, -min(count, n - 1) - 1, -1)
            values = np.maximum(0.0, spectra[i, leading])
            kept = values > floor
            vectors = bases[i, :n, leading][:, kept]
            coefficients = vectors / np.sqrt(values[kept])
            found.append(Part(places, energies[i], values, coefficients))
    return found


def overlaps(K: Matrix, a: Part, b: Part, levels: Levels, /) -> Vector:
    """Return tr(P_a P_b) / k by level, NaN where a part has fewer directions.

    Parameters
    ----------
    K
        Inner products of all members.
    a, b
        Two parts.
    levels
        The k.

    Notes
    -----
    The mean squared cosine of the principal angles (Björck and Golub 1973).
    With V = X^T C it is the squared Frobenius norm of C_a^T K_ab C_b over k;
    columns of C sum to zero, so that no mean needs to be taken off K.
    """
    across = K[np.ix_(a.places, b.places)]
    cosines = a.coefficients.T @ across @ b.coefficients
    sums = np.cumsum(np.cumsum(cosines**2, axis=0), axis=1)
    most = min(cosines.shape)
    return np.array([
        sums[k - 1, k - 1] / k if k <= most else np.nan for k in levels
    ])  # fmt: skip


def captured(K: Matrix, seen: Part, out: Places, levels: Levels, /) -> Vector:
    """Return the share of other members' deviation that a part holds.

    Parameters
    ----------
    K
        Inner products of all members.
    seen
        The part, whose mean they deviate from.
    out
        The rows of the others.
    levels
        How many of its directions.
    """
    training = K[np.ix_(seen.places, seen.places)]
    cross = K[np.ix_(out, seen.places)]
    total = np.diagonal(K)[out] - 2 * cross.mean(axis=1) + training.mean()
    scores = (cross - training.mean(axis=0)) @ seen.coefficients
    powers = np.sum(scores**2, axis=0)
    return explained(powers, levels, total=float(total.sum()))


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its 95 % interval.

    Attributes
    ----------
    bias
        Mean of the resamples less the value.
    """

    value: float
    low: float
    high: float
    bias: float


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """The spectrum with its intervals over resamples of whole groups.

    Attributes
    ----------
    evr
        One a level, None for one beyond N - 1.
    relative_gap
        (lambda_k - lambda_k+1) / lambda_k; None for no k.
    """

    draws: int
    evr: tuple[Interval | None, ...]
    relative_gap: Interval | None
    participation_ratio: Interval | None


def bootstrap(
    axis: Deviations,
    labels: Sequence[int],
    weights: Matrix,
    /,
    *,
    levels: Levels,
    gap_at: int | None,
) -> Bootstrap:
    """Return intervals from resamples of whole groups.

    Parameters
    ----------
    axis
        The layer.
    labels
        The group of each member.
    weights
        How often each group is drawn, (draws, groups), groups in the order
        of their first members.
    levels
        The k of the EVR.
    gap_at
        The k of the gap.

    Notes
    -----
    A resample holds copies, which concentrate its spectrum: N orthogonal
    members have an EVR of k / (N - 1), their resamples several times that.
    The percentile interval (Efron and Tibshirani 1993) would miss the value.
    It is moved, so that the resamples' mean lies at the value, and cut where
    the value's range ends; `bias` says how far it was moved.
    """
    spectra = _resampled_spectra(axis.K, labels, weights)
    # A resample of one member alone has no spectrum.
    spectra = spectra[spectra[:, 0] > axis.floor]
    total, most = spectra.sum(axis=1), axis.n - 1
    sums = np.cumsum(spectra, axis=1) / total[:, None]
    shares = zip(levels, evr(axis, levels).tolist(), strict=True)
    gap = None
    if gap_at is not None:
        above, below = spectra[:, gap_at - 1], spectra[:, gap_at]
        known = above > axis.floor
        gap = _interval(
            float(1 - axis.eigenvalues[gap_at] / axis.eigenvalues[gap_at - 1]),
            1 - below[known] / above[known],
            0,
            1,
        )
    return Bootstrap(
        draws=len(weights),
        evr=tuple(
            _interval(share, sums[:, k - 1], 0, 1) if k <= most else None
            for k, share in shares
        ),
        relative_gap=gap,
        participation_ratio=_interval(
            participation_ratio(axis),
            total**2 / np.sum(spectra**2, axis=1), 1, most,
        ),
    )  # fmt: skip


def _resampled_spectra(
    K: Matrix, labels: Sequence[int], weights: Matrix
) -> Matrix:
    """Return the eigenvalues of each resample, largest first.

    A member drawn w times adds one direction, sqrt(w) (x - m) with m the
    weighted mean, as would w copies of it; who is not drawn takes no part.
    Resamples of nearly one size go together, as `parts` do.
    """
    columns = {label: i for i, label in enumerate(dict.fromkeys(labels))}
    times = weights[:, [columns[label] for label in labels]]
    spectra = np.zeros((len(weights), len(K)))
    by_size = np.argsort(np.count_nonzero(times, axis=1), kind="stable")
    for start in range(0, len(times), _TOGETHER):
        batch = by_size[start : start + _TOGETHER]
        size = np.count_nonzero(times[batch[-1]])
        stack = np.zeros((len(batch), size, size))
        for inner, drawn in zip(stack, times[batch], strict=True):
            kept = np.flatnonzero(drawn)
            n = len(kept)
            inner[:n, :n] = _of_copies(K[np.ix_(kept, kept)], drawn[kept])
        spectra[batch, :size] = eigvalsh(stack)[:, ::-1]
    return np.maximum(0.0, spectra)


def _of_copies(inner: Matrix, often: Vector) -> Matrix:
    """Return inner products about the mean of members that count often."""
    means = inner @ often / often.sum()
    about = inner + means @ often / often.sum() - means[:, None] - means
    return np.asarray(about * np.sqrt(np.outer(often, often)))


def _interval(
    value: float | None, drawn: Vector, least: float, most: float
) -> Interval | None:
    """Return the percentile interval, moved to the value."""
    if value is None or not len(drawn):
        return None
    bias = float(drawn.mean()) - value
    low, high = np.percentile(drawn, (_LOW, _HIGH)) - bias
    return Interval(
        value, max(least, float(low)), min(most, float(high)), bias
    )
