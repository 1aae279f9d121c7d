"""Would other members have given the same subspace? The model axis in parts.

Whole lineage groups are split, left out or drawn again, never single members:
near-copies on both sides of a split would agree with each other.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from spectra.statistics.measures import expected_isotropic, explained
from spectra.statistics.model_axis.convergence import (
    FEWEST_FOR_SLOPE,
    Convergence,
    converge,
    root,
)
from spectra.statistics.model_axis.effect import resamples
from spectra.statistics.model_axis.resampling import (
    Bootstrap,
    Interval,
    Order,
    Part,
    Places,
    bootstrap,
    captured,
    overlaps,
    parts,
)
from spectra.statistics.nulls.table import unrelated
from spectra.statistics.plain import by_level, numbers, percent, with_reason
from spectra.statistics.vectors import Deviations, Matrix, Vector

__all__ = [
    "Saturation",
    "Stability",
    "stability",
    "stability_document",
]

Document = dict[str, Any]
Levels = Sequence[int]
Pair = tuple[Places, Places]
Halves = tuple[Part, Part]

_FEWEST_GROUPS = 4

_ORDERS = 10
"""Orders of the groups that curves are averaged over."""

_DRAWN = 4
"""Draws that are in memory at once."""

_GAIN = 0.01
"""Gains below this share of the held-out deviation are none."""


@dataclass(frozen=True, slots=True)
class Saturation:
    """Subsamples of 1/4, 1/2, 3/4 of the groups and of all, (4, levels).

    Means over orders of the groups.

    Attributes
    ----------
    n
        How many members they have.
    evr_excess
        EVR less the isotropic k / (n - 1).
    overlap
        With the directions of all members.
    captured
        What they hold of the last quarter of the groups; NaN for all.
    gain, error
        What 3/4 hold of it more than 1/2, and its standard error.
    """

    n: Vector
    evr_excess: Matrix
    overlap: Matrix
    captured: Matrix
    gain: Vector
    error: Vector

    @property
    def judged_at(self) -> int | None:
        """Return the place of the largest k that half of the groups have."""
        places = np.flatnonzero(np.isfinite(self.gain))
        return int(places[-1]) if len(places) else None

    def is_growing(self, place: int, /) -> bool:
        """Return whether more members held more, by more than chance."""
        least = max(_GAIN, 2 * self.error[place])
        return bool(self.gain[place] > least)


@dataclass(frozen=True, slots=True)
class Stability:
    """The subspaces of parts of a population, side by side.

    Attributes
    ----------
    split_half, split_half_null
        Mean overlap of halves, of the layer and of the strength null, one a
        level; NaN where a half has fewer directions.
    k
        K*, where the gap of the spectrum is largest; None where a half is too
        small to have one.
    bound
        The Davis-Kahan bound there.
    """

    splits: int
    split_half: Vector
    split_half_null: Vector
    k: int | None
    bound: float | None
    bootstrap: Bootstrap
    saturation: Saturation
    convergence: Convergence


def stability(
    axis: Deviations,
    labels: Sequence[int],
    levels: Levels,
    /,
    *,
    rng: np.random.Generator,
    splits: int = 50,
    draws: int = 200,
) -> Stability | None:
    """Return how parts compare, None for fewer than four groups.

    It is None as well where nothing deviates above the floor.

    Parameters
    ----------
    axis
        The layer.
    labels
        The lineage group of each member.
    levels
        The k to report.
    rng
        The layer's own stream.
    splits
        How often the groups are halved.
    draws
        Resamples for intervals.

    Notes
    -----
    K* has the largest gap lambda_k - lambda_k+1, by which Davis and Kahan
    (1970) divide, of those that every half can have.
    """
    members = np.array(labels)
    groups = [
        np.flatnonzero(members == label) for label in dict.fromkeys(labels)
    ]
    if len(groups) < _FEWEST_GROUPS or not axis.is_resolved:
        return None
    orders = [
        [groups[i] for i in rng.permutation(len(groups))]
        for _ in range(splits)
    ]
    weights = resamples(len(groups), draws, rng)
    middle = len(groups) // 2
    halves = [(order[:middle], order[middle:]) for order in orders]
    pairs = [(_of(first), _of(second)) for first, second in halves]
    k = _largest_gap(axis, min(len(half) for pair in pairs for half in pair))
    count = max(*levels, 0 if k is None else k + 1)
    found = _halves([axis.K] * splits, pairs, count, axis.floor)
    convergence = converge(root(axis.K), halves)
    return Stability(
        splits=splits,
        split_half=np.mean(
            [overlaps(axis.K, *pair, levels) for pair in found], axis=0
        ),
        split_half_null=_null(axis, pairs, levels, rng),
        k=k,
        bound=k and _bound(convergence.distance[:, -1], found, k),
        bootstrap=bootstrap(axis, labels, weights, levels=levels, gap_at=k),
        saturation=_saturation(axis, orders[:_ORDERS], levels),
        convergence=convergence,
    )


def _of(groups: Order) -> Places:
    return np.concatenate(groups)


def _largest_gap(axis: Deviations, smallest: int) -> int | None:
    """Return K*; a half of n members has the gaps up to n - 2."""
    most = min(smallest - 2, int(np.sum(axis.eigenvalues > axis.floor)))
    if most < 1:
        return None
    return int(np.argmax(-np.diff(axis.eigenvalues[: most + 1]))) + 1


def _halves(
    products: Iterable[Matrix], pairs: Sequence[Pair], count: int, floor: float
) -> list[Halves]:
    cases = [
        (K, half)
        for K, pair in zip(products, pairs, strict=True)
        for half in pair
    ]
    found = parts(cases, count, floor=floor)
    return list(zip(found[::2], found[1::2], strict=True))


def _null(
    axis: Deviations,
    pairs: Sequence[Pair],
    levels: Levels,
    rng: np.random.Generator,
) -> Vector:
    """Return the mean overlap of halves that share nothing, a draw a pair."""
    if axis.squared_norms is None:
        return np.full(len(levels), np.nan)
    lengths = np.sqrt(axis.squared_norms)
    found = []
    for start in range(0, len(pairs), _DRAWN):
        some = pairs[start : start + _DRAWN]
        drawn = unrelated(axis.n, axis.size, len(some), rng, lengths=lengths)
        halves = _halves(drawn, some, max(levels), axis.floor)
        found += [
            overlaps(K, *pair, levels)
            for K, pair in zip(drawn, halves, strict=True)
        ]
    mean: Vector = np.mean(found, axis=0)
    return mean


def _bound(distances: Vector, halves: Sequence[Halves], k: int) -> float:
    gaps = np.array([min(a.gap(k), b.gap(k)) for a, b in halves])
    bounds = np.full(len(gaps), np.inf)
    np.divide(2 * distances, gaps, out=bounds, where=gaps > 0)
    return float(np.median(bounds))


def _saturation(
    axis: Deviations, orders: Sequence[Order], levels: Levels
) -> Saturation:
    sizes = [len(orders[0]) * quarters // 4 for quarters in (1, 2, 3)]
    taken = [_of(order[:size]) for size in sizes for order in orders]
    cases = [(axis.K, places) for places in [*taken, np.arange(axis.n)]]
    *some, whole = parts(cases, max(levels), floor=axis.floor)
    # Of all there is one, whatever the order.
    found = [*some, *[whole] * len(orders)]
    n = np.zeros((len(orders), 4))
    excess, overlap, held = np.full((3, *n.shape, len(levels)), np.nan)
    for i, seen in enumerate(found):
        j, at = divmod(i, len(orders))
        n[at, j] = len(seen.places)
        shares = explained(seen.eigenvalues, levels, total=seen.energy)
        # Of one member `shares` have no value, whatever is taken off.
        chance = expected_isotropic(max(2, len(seen.places)), levels)
        excess[at, j] = shares - chance
        overlap[at, j] = overlaps(axis.K, seen, whole, levels)
        if seen is not whole:
            out = _of(orders[at][sizes[2] :])
            held[at, j] = captured(axis.K, seen, out, levels)
    gains = held[:, 2] - held[:, 1]
    return Saturation(
        n=n.mean(axis=0),
        evr_excess=excess.mean(axis=0),
        overlap=overlap.mean(axis=0),
        captured=held.mean(axis=0),
        gain=gains.mean(axis=0),
        error=gains.std(axis=0, ddof=1) / np.sqrt(len(orders)),
    )


def stability_document(found: Stability | None, levels: Levels, /) -> Document:
    """Return ``stability`` of a layer, as report.json has it.

    Parameters
    ----------
    found
        What `stability` returned.
    levels
        The k it was asked for.
    """
    if found is None:
        document: Document = {}
        for key in _KEYS:
            document |= with_reason(key, None, _FEW)
        return document
    overlap = by_level(levels, found.split_half)
    null = by_level(levels, found.split_half_null)
    small = "a half of fewer than three members has no gap"
    return {
        "splits": found.splits,
        **with_reason("split_half", overlap, _SHORT),
        **with_reason("split_half_null", null, _SHORT),
        **with_reason("davis_kahan", _bound_shown(found.bound), small),
        **with_reason("davis_kahan_k", found.k, small),
        **with_reason("eigengap", _eigengap(found), small),
        "bootstrap": _bootstrap_document(found.bootstrap, levels),
        "saturation": {
            "orders": min(_ORDERS, found.splits),
            **_saturation_document(found.saturation, levels),
        },
        "convergence": _convergence_document(found.convergence),
    }


_KEYS = (
    "split_half", "split_half_null", "davis_kahan", "davis_kahan_k",
    "eigengap", "bootstrap", "saturation", "convergence",
)  # fmt: skip
_FEW = "fewer than four lineage groups, or nothing deviates above the floor"
_SHORT = "a half has fewer directions above the floor"
_FEWER = "a subsample has fewer directions above the floor"
_NO_SLOPE = f"fewer than {FEWEST_FOR_SLOPE} groups, or parts that are equal"


def _bound_shown(bound: float | None) -> float | str | None:
    return "vacuous" if bound is not None and bound >= 1 else bound


def _eigengap(found: Stability) -> Document | None:
    interval = found.bootstrap.relative_gap
    if interval is None:
        return None
    shown = asdict(interval)
    return {"k": found.k, "relative_gap": shown.pop("value"), **shown}


def _shown(interval: Interval | None) -> Document | None:
    return None if interval is None else asdict(interval)


def _bootstrap_document(found: Bootstrap, levels: Levels) -> Document:
    shares = {
        str(k): _shown(interval)
        for k, interval in zip(levels, found.evr, strict=True)
    }
    return {
        "resamples": found.draws,
        **with_reason(
            "evr", shares, "the members leave fewer directions"
        ),
        **with_reason(
            "participation_ratio", _shown(found.participation_ratio),
            "no resample has two members that differ",
        ),
    }  # fmt: skip


def _saturation_document(found: Saturation, levels: Levels) -> Document:
    document: Document = {"n": numbers(found.n)}
    for key, table, reason in (
        ("evr_excess", found.evr_excess, _FEWER),
        ("overlap", found.overlap, _FEWER),
        ("captured", found.captured, f"nobody is held out of all; {_FEWER}"),
    ):
        columns = [numbers(column) for column in table.T]
        document[key] = dict(zip(map(str, levels), columns, strict=True))
        if np.isnan(table).any():
            document[f"{key}_reason"] = reason
    place = found.judged_at
    if place is None:
        return document | with_reason("still_growing", None, _FEWER)
    growing = found.is_growing(place)
    _, before, after, _ = found.captured[:, place]
    text = (
        f"k = {levels[place]} directions of half of the groups hold"
        f" {percent(before)} of what other groups deviate by, those of three"
        f" quarters {percent(after)}: {'still' if growing else 'not'} growing"
    )
    return document | {"still_growing": growing, "text": text}


def _convergence_document(found: Convergence) -> Document:
    return {
        **with_reason("slope", found.slope, _NO_SLOPE),
        "expected": -0.5,
        "n": numbers(found.n),
        "distance": numbers(found.distance.mean(axis=0) / found.norm),
    }
