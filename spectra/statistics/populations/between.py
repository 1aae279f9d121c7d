"""The populations that given groups are, two by two."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from spectra.core.settings import OverlapSettings
from spectra.statistics.kinship.population import groupings_of
from spectra.statistics.kinship.relations import Relations
from spectra.statistics.populations.layer import (
    Compared,
    Populations,
    compare_layer,
    populations_of,
)
from spectra.subspaces.result import LayerFit, Member

__all__ = ["Pairs", "between", "pairs_of"]

_MOST = 4
"""Populations that are compared two by two: six pairs."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Which populations are held against each other.

    Attributes
    ----------
    pairs
        Two by two.
    left_out
        Names of those that are in no pair.
    """

    pairs: tuple[Populations, ...]
    left_out: tuple[str, ...]


def pairs_of(
    models: Sequence[Member],
    relations: Relations,
    settings: OverlapSettings,
    /,
) -> Pairs:
    """Return the pairs of the populations that `settings.groups` names.

    Those with the most independent members, four at most, each with
    `fewest_groups` at least.

    Parameters
    ----------
    models
        The members.
    relations
        What they have in common: within a population the weights say who is
        independent, since the groups that were given name the populations.
    settings
        Groups and thresholds.
    """
    of_weights = groupings_of(
        models, relations, replace(settings, groups=None)
    )
    members: dict[str, set[int]] = {}
    for i, name in enumerate(of_weights.ids):
        if relations.has_layer[i] and settings.groups is not None:
            members.setdefault(settings.groups[name], set()).add(i)
    whole = populations_of(of_weights, range(len(models)), ())
    sizes = {name: whole.n_groups(own) for name, own in members.items()}
    large = [n for n in sizes if sizes[n] >= settings.fewest_groups]
    kept = sorted(large, key=lambda name: (-sizes[name], name))[:_MOST]
    if len(kept) < 2:
        kept = []
    pairs = (
        populations_of(of_weights, members[a], members[b], names=(a, b))
        for a, b in combinations(sorted(kept), 2)
    )
    return Pairs(tuple(pairs), tuple(sorted(sizes.keys() - set(kept))))


def between(
    layer: LayerFit, pairs: Pairs, settings: OverlapSettings, /
) -> tuple[Compared, ...]:
    """Return what a layer says of each pair of populations.

    Parameters
    ----------
    layer
        The layer.
    pairs
        Who is compared.
    settings
        Levels, draws, resamples, seed and thresholds.
    """
    return tuple(compare_layer(layer, pair, settings) for pair in pairs.pairs)
