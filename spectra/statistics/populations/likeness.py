"""One word for two populations in one layer, and why."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spectra.core.settings import OverlapSettings
from spectra.statistics.model_axis.effect import Effect
from spectra.statistics.plain import percent
from spectra.statistics.populations.crossed import Crossing, Means
from spectra.statistics.populations.layer import Compared

__all__ = ["MEANINGS", "Likeness", "likeness"]

MEANINGS = {
    "common": "the directions of each population hold far more of the other"
    " than random ones do",
    "one-way": "those of one population hold far more of the other, and not"
    " the other way round",
    "different": "neither holds more of the other than random ones do, and the"
    " two are less alike than random divisions of all members",
    "undecided": "neither holds more of the other than random ones do, and"
    " random divisions of all members are no more alike",
    "too-few": "a population has fewer than five independent groups, or its"
    " members do not differ",
}
"""Every word for a layer, and what it says."""


_TIE = 1e-9


@dataclass(frozen=True, slots=True)
class Likeness:
    """How alike two populations are in a layer.

    Attributes
    ----------
    word
        One of `MEANINGS`.
    k
        The level it rests on; None for none.
    p
        That random divisions are as unlike in any layer, at any level that
        could carry a word; None for none.
    reasons
        Why, with the numbers.
    """

    word: str
    k: int | None
    p: float | None
    reasons: tuple[str, ...]


def likeness(
    layers: Sequence[Compared], settings: OverlapSettings, /
) -> tuple[Likeness, ...]:
    """Return the word for each layer.

    Parameters
    ----------
    layers
        What they show.
    settings
        Thresholds.

    Notes
    -----
    An effect counts from `weakly_shared` on, at its lower end; p, adjusted
    for the number of layers and levels, below `alpha`. p decides only where
    there is no effect: around the same directions, two strengths of noise
    make a difference too.
    """
    lowest = _lowest(layers)
    return tuple(
        Likeness("too-few", None, None, (_too_few(found, settings),))
        if found.crossing is None or p is None
        else _judged(found, found.crossing, p, settings)
        for found, p in zip(layers, lowest, strict=True)
    )


def _lowest(layers: Sequence[Compared]) -> list[float | None]:
    """Return p of the level at which each layer's overlap is lowest.

    Westfall and Young's max-T in one step: standard deviations below the
    mean, against the lowest of any level of any layer in each draw.
    """
    scores = {
        i: found.crossing.overlap.standardised(found.levels)
        for i, found in enumerate(layers)
        if found.crossing is not None and found.levels
    }
    p: list[float | None] = [None] * len(layers)
    if scores:
        drawn = np.min([z.min(axis=1) for _, z in scores.values()], axis=0)
        for i, (z, _) in scores.items():
            below = np.count_nonzero(drawn <= z.min() + _TIE)
            p[i] = float((1 + below) / (1 + len(drawn)))
    return p


def _judged(
    found: Compared, crossing: Crossing, p: float, settings: OverlapSettings
) -> Likeness:
    levels, (of_b, of_a) = found.levels, found.effects
    k = levels[int(crossing.overlap.standardised(levels)[0].argmin())]
    word = "different" if p < settings.alpha else "undecided"
    for candidate, low in (
        ("one-way", {k: max(of_b[k].low, of_a[k].low) for k in levels}),
        ("common", {k: min(of_b[k].low, of_a[k].low) for k in levels}),
    ):
        best = max(low, key=low.__getitem__)
        if low[best] >= settings.weakly_shared:
            word, k = candidate, best
    return Likeness(word, k, p, _reasons(found, crossing, k, p))


def _reasons(
    found: Compared, crossing: Crossing, k: int, p: float
) -> tuple[str, ...]:
    (a, b), (of_b, of_a) = found.names, found.effects
    return (
        _holds(of_b[k], a, b),
        _holds(of_a[k], b, a),
        _alike(crossing, k, p),
        _apart(crossing.means),
    )


def _too_few(found: Compared, settings: OverlapSettings) -> str:
    groups = ", ".join(
        f"{n} of {name}"
        for n, name in zip(found.n_groups, found.names, strict=True)
    )
    return (
        f"independent groups: {groups}; at least {settings.fewest_groups} of"
        " each, whose members differ, are needed"
    )


def _holds(effect: Effect, one: str, other: str) -> str:
    noun, verb = (
        ("direction", "holds") if effect.k == 1 else ("directions", "hold")
    )
    return (
        f"{effect.k} {noun} of {one} {verb} {percent(effect.captured)} of the"
        f" deviations of {other}, random ones {percent(effect.random)}"
        f" (effect {effect.value:.3f}, at least {effect.low:.3f})"
    )


def _alike(crossing: Crossing, k: int, p: float) -> str:
    found, column = crossing.overlap, crossing.levels.index(k)
    return (
        f"the overlap of {k} of each is {found.observed[column]:.2g}, by"
        f" chance {crossing.chance[column]:.2g}, in random divisions of all"
        f" groups {found.expected[column]:.2g} (p ="
        f" {found.p_lower[column]:.2g}, adjusted for layers and levels"
        f" {p:.2g})"
    )


def _apart(means: Means) -> str:
    return (
        f"the squared distance of the means is {means.distance:.2g} of a mean"
        f" squared deviation, and would be {means.expected:.2g} of equal means"
        f" (p = {means.p:.2g})"
    )
