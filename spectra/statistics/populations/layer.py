"""Two populations of one fit, and what one layer shows of them.

Members that are related, by descent or by their random start, are one witness;
those that are related across the two are left out of both.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.sparse.csgraph import connected_components

from spectra.core.settings import OverlapSettings
from spectra.statistics.kinship.population import Groupings
from spectra.statistics.model_axis.effect import (
    Effect,
    eligible,
    largest_effect,
    resamples,
)
from spectra.statistics.model_axis.findings import levels_of
from spectra.statistics.model_axis.held_out import HeldOut
from spectra.statistics.populations.crossed import (
    Crossing,
    cross,
    divisions_of,
)
from spectra.statistics.populations.crossed_sides import SideContrast, contrast
from spectra.statistics.sides.side import sides_of
from spectra.statistics.streams import generator, stream
from spectra.statistics.vectors import deviations
from spectra.subspaces.result import LayerFit

__all__ = ["Compared", "Populations", "compare_layer", "populations_of"]


@dataclass(frozen=True, slots=True)
class Populations:
    """Two populations of one fit.

    Attributes
    ----------
    names
        What they are called.
    ids
        Of all members of the fit.
    part_of
        For each of them 0, 1, or None where it is in neither.
    units
        For each the number of its independent group; None without a layer.
    """

    names: tuple[str, str]
    ids: tuple[str, ...]
    part_of: tuple[int | None, ...]
    units: tuple[int | None, ...]

    def members(self, part: int, /) -> tuple[int, ...]:
        """Return all members of a population that have a layer."""
        return tuple(
            i
            for i, own in enumerate(self.part_of)
            if own == part and self.units[i] is not None
        )

    def n_groups(self, members: Iterable[int], /) -> int:
        """Return the number of independent groups of members."""
        return len({self.units[i] for i in members})

    @property
    def across(self) -> frozenset[int]:
        """Return the members whose group is in both populations."""
        a, b = self.members(0), self.members(1)
        both = {self.units[i] for i in a} & {self.units[i] for i in b}
        return frozenset(i for i in (*a, *b) if self.units[i] in both)


def populations_of(
    groupings: Groupings,
    a: Collection[int],
    b: Collection[int],
    /,
    *,
    names: tuple[str, str] = ("A", "B"),
) -> Populations:
    """Return two populations, and who is an independent witness.

    Parameters
    ----------
    groupings
        Of all members.
    a, b
        Their members; none is in both.
    names
        What they are called.
    """
    part_of = tuple(
        0 if i in a else 1 if i in b else None
        for i in range(len(groupings.ids))
    )
    return Populations(names, groupings.ids, part_of, _units(groupings))


def _units(groupings: Groupings) -> tuple[int | None, ...]:
    """Return groups of members that descent or a random start relates."""
    descent = groupings.lineage.labels
    n = len(descent)
    own = np.array([-1 - i if x is None else x for i, x in enumerate(descent)])
    starts = np.array(groupings.starts(range(n)))
    alike = np.equal.outer(own, own) | np.equal.outer(starts, starts)
    _, labels = connected_components(alike, directed=False)
    return tuple(
        None if label is None else int(unit)
        for label, unit in zip(descent, labels, strict=True)
    )


@dataclass(frozen=True, slots=True)
class Compared:
    """What one layer shows of two populations.

    Attributes
    ----------
    names
        Of the populations.
    n_members, n_groups
        Of each population, those left out not counted.
    n_across
        Members left out.
    draws
        Random divisions of all groups; none where groups are too few.
    crossing
        None where a population has no two members that differ.
    effects
        By level, how much more than random ones a's directions hold of b,
        and b's of a; none where groups are too few.
    sides
        Of the output and the input side, by name.
    """

    names: tuple[str, str]
    n_members: tuple[int, int]
    n_groups: tuple[int, int]
    n_across: int
    draws: int
    crossing: Crossing | None
    effects: tuple[Mapping[int, Effect], Mapping[int, Effect]]
    sides: Mapping[str, SideContrast | None]

    @property
    def levels(self) -> tuple[int, ...]:
        """Return the levels that can carry a word."""
        both = self.effects[0].keys() & self.effects[1].keys()
        return tuple(k for k in eligible(min(self.n_groups)) if k in both)


def compare_layer(
    layer: LayerFit, populations: Populations, settings: OverlapSettings, /
) -> Compared:
    """Return what a layer says of two populations.

    Parameters
    ----------
    layer
        Of a fit that has the members of both.
    populations
        Who is compared.
    settings
        Levels, draws, resamples, seed and thresholds.
    """
    axis = deviations(layer, populations.ids)
    out = populations.across | _copied_across(layer, populations)
    a, b = (
        [
            place
            for place, i in enumerate(axis.members)
            if populations.part_of[i] == part and i not in out
        ]
        for part in (0, 1)
    )
    members = [axis.members[place] for place in (*a, *b)]
    n_groups = (
        populations.n_groups(members[: len(a)]),
        populations.n_groups(members[len(a) :]),
    )
    enough = min(n_groups) >= settings.fewest_groups
    labels = np.array([populations.units[i] for i in members], dtype=np.int64)
    # One stream for all layers: a draw is one division of the population.
    divisions = divisions_of(
        labels, len(a), settings.draws if enough else 0,
        generator(settings.seed, "populations"),
    )  # fmt: skip
    crossing = None
    if len(a) > 1 and len(b) > 1:
        crossing = cross(
            axis, (a, b), labels,
            levels=levels_of(settings), divisions=divisions,
        )  # fmt: skip
    of_b, of_a = {}, {}
    if crossing is not None and enough:
        of_b, of_a = (
            _effects(held.sums, layer, settings)
            for held in (crossing.of_b, crossing.of_a)
        )
    return Compared(
        names=populations.names,
        n_members=(len(a), len(b)),
        n_groups=n_groups,
        n_across=sum(
            populations.part_of[i] is not None and i in out
            for i in axis.members
        ),
        draws=len(divisions),
        crossing=crossing,
        effects=(of_b, of_a),
        sides={
            side.name: contrast(side, (a, b), labels, divisions)
            for side in sides_of(layer, populations.ids)
        },
    )


def _copied_across(layer: LayerFit, populations: Populations) -> set[int]:
    """Return the members that stand for a copy in the other population."""
    part_of = populations.part_of
    return {
        kept
        for copy, kept in layer.duplicates
        if {part_of[copy], part_of[kept]} == {0, 1}
    }


def _effects(
    sums: HeldOut, layer: LayerFit, settings: OverlapSettings
) -> dict[int, Effect]:
    """Return the effect at each level, with its interval over groups."""
    rng = stream(layer, settings, "populations")
    weights = resamples(sums.folds, settings.bootstrap, rng)
    found = {k: largest_effect(sums, weights, (k,)) for k in sums.levels}
    return {k: effect for k, effect in found.items() if effect is not None}
