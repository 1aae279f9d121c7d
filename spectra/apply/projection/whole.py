"""What a newcomer is to a population: all layers together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.apply.projection.layer import (
    AT_MEAN,
    COMMON,
    IN_SAMPLE,
    ONE_GROUP,
    SHORT,
    ZERO,
    Placed,
    standing,
)
from spectra.core.settings import OverlapSettings
from spectra.statistics.kinship.relations import rows_of
from spectra.statistics.plain import by_level, number, with_reason
from spectra.statistics.vectors import Matrix, Vector
from spectra.subspaces.result import LayerFit

__all__ = ["Kin", "Part", "kin_of", "part_of", "whole_document"]

Document = dict[str, Any]

_NEAREST = 5


@dataclass(frozen=True, slots=True)
class Part:
    """What one layer adds to the whole: sums, so that layers can be added.

    Attributes
    ----------
    is_update
        Whether maps are updates, and no whole weights.
    learned_mean
        Whether members started from zero, so that their mean was learned.
    is_apart
        Whether the newcomer differs from their mean by more than rounding.
    deviation, captured, random
        The newcomer's squared distance from the members' mean, and by level
        what their directions and random ones hold of it.
    groups
        (deviation, captured, random) of each lineage group, held out.
    products, energies
        By member of the population, inner products with the newcomer and
        squared norms; NaN for those that lack the layer.
    energy
        The newcomer's squared norm.
    copies
        Members with the same bytes.
    """

    is_update: bool
    learned_mean: bool
    is_apart: bool
    deviation: float
    captured: Vector
    random: Vector
    groups: dict[int, tuple[float, Vector, Vector]]
    products: Vector
    energies: Vector
    energy: float
    copies: frozenset[int]


def part_of(
    layer: LayerFit,
    placed: Placed,
    levels: Sequence[int],
    n: int,
    /,
    *,
    learned_mean: bool,
) -> Part:
    """Return what one layer adds.

    Parameters
    ----------
    layer, placed
        The layer, and where the newcomer lies in it.
    levels
        The k.
    n
        Members of the population.
    learned_mean
        Whether members started from zero.
    """
    seen, held = placed.seen, placed.held_out
    row = {member: i for i, member in enumerate(placed.axis.members)}
    products, energies = np.full((2, n), np.nan)
    for member, kept in rows_of(layer).items():
        i = row[layer.members[kept]]
        products[member] = placed.products[i]
        energies[member] = placed.axis.energies[i]
    zero = np.zeros(len(levels))
    return Part(
        is_update=layer.kind != "dense",
        learned_mean=learned_mean,
        is_apart=seen is not None,
        deviation=placed.deviation,
        captured=np.array(seen.captured(levels)) if seen else zero,
        random=np.array(seen.random(levels)) if seen else zero,
        groups={}
        if held is None
        else dict(
            zip(
                placed.groups,
                zip(
                    held.deviation.tolist(), held.captured, held.random,
                    strict=True,
                ),
                strict=True,
            )
        ),
        products=products,
        energies=energies,
        energy=placed.energy,
        copies=frozenset(placed.copies),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Kin:
    """Who among the members is like the newcomer in all layers together.

    Attributes
    ----------
    cosines
        Of all maps that both have, by member; NaN for none. Updates decide
        where there are any.
    related
        Members of its lineage, by the thresholds of a report, nearest first.
    copies
        Members with the same bytes in every layer that it was compared in.
    n_copied
        Layers in which some member has the same bytes.
    """

    cosines: Vector
    related: tuple[int, ...]
    copies: tuple[int, ...]
    n_copied: int

    def named(
        self, members: Sequence[int], ids: Sequence[str], /
    ) -> list[Document]:
        """Return the first few members with their cosines."""
        return [
            {"id": ids[i], "cosine": number(float(self.cosines[i]))}
            for i in members[:_NEAREST]
        ]

    @property
    def nearest(self) -> tuple[int, ...]:
        """Return the members that can be compared, the nearest first."""
        there = [int(i) for i in np.flatnonzero(~np.isnan(self.cosines))]
        return tuple(sorted(there, key=lambda i: (-self.cosines[i], i)))


def kin_of(parts: Sequence[Part], settings: OverlapSettings, /) -> Kin:
    """Return who is like the newcomer, from one part a layer at least."""
    updates = _cosines([part for part in parts if part.is_update], parts[0])
    weights = _cosines(
        [part for part in parts if not part.is_update], parts[0]
    )
    by_update = ~np.isnan(updates)
    alike = np.where(
        by_update,
        updates > settings.lineage_threshold_updates,
        weights > settings.lineage_threshold_weights,
    )
    cosines = np.where(by_update, updates, weights)
    found = Kin(
        cosines,
        (),
        tuple(sorted(frozenset.intersection(*(p.copies for p in parts)))),
        sum(bool(part.copies) for part in parts),
    )
    related = tuple(i for i in found.nearest if alike[i])
    return replace(found, related=related)


def _cosines(parts: Sequence[Part], like: Part) -> Vector:
    products, own, theirs = np.zeros((3, len(like.products)))
    for part in parts:
        there = ~np.isnan(part.products)
        products[there] += part.products[there]
        theirs[there] += part.energies[there]
        own[there] += part.energy
    scale = np.sqrt(own * theirs)
    cosines: Vector = np.full(len(scale), np.nan)
    np.divide(products, scale, out=cosines, where=scale > 0)
    return np.asarray(np.clip(cosines, -1.0, 1.0))


def whole_document(
    parts: Sequence[Part], levels: Sequence[int], /
) -> Document:
    """Return ``whole``: ratios of sums over all layers.

    Parameters
    ----------
    parts
        One a layer.
    levels
        The k.
    """
    is_apart = any(part.is_apart for part in parts)
    deviation = sum(part.deviation for part in parts)
    sums = {
        "captured": sum(part.captured for part in parts),
        "captured_random": sum(part.random for part in parts),
    }
    document: Document = {}
    shares: dict[str, Vector] = {}
    for key, held in sums.items():
        shares[key] = np.full(len(levels), np.nan)
        if is_apart:
            shares[key] = np.asarray(held) / deviation
        document |= with_reason(
            key,
            by_level(levels, shares[key]),
            SHORT if is_apart else AT_MEAN,
        )
    document |= _mean([part for part in parts if part.learned_mean])
    captured, random = _groups(parts, len(levels))
    if len(captured) < 2:
        return document | with_reason("members", None, ONE_GROUP)
    mine: Vector | str = shares["captured"] if is_apart else AT_MEAN
    if all(part.copies for part in parts):
        mine = IN_SAMPLE
    found = standing(captured, random, mine, levels)
    return document | {"members": found}


def _mean(parts: Sequence[Part]) -> Document:
    energy = sum(part.energy for part in parts)
    if not energy:
        return with_reason("r2_mean", None, ZERO if parts else COMMON)
    return {"r2_mean": 1 - sum(part.deviation for part in parts) / energy}


def _groups(parts: Sequence[Part], n: int) -> tuple[Matrix, Matrix]:
    """Return each lineage group's shares over all layers that it has."""
    deviations: dict[int, float] = {}
    held: dict[int, NDArray[np.float64]] = {}
    for part in parts:
        for group, (deviation, captured, random) in part.groups.items():
            deviations[group] = deviations.get(group, 0.0) + deviation
            so_far = held.get(group, np.zeros((2, n)))
            held[group] = so_far + np.stack([captured, random])
    there = [group for group in sorted(held) if deviations[group] > 0]
    if not there:
        return np.zeros((0, n)), np.zeros((0, n))
    shares = np.stack([held[group] / deviations[group] for group in there])
    return shares[:, 0], shares[:, 1]
