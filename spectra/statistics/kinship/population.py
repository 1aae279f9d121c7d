"""The population: its groups, and what the report says of each member."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spectra.core.settings import OverlapSettings
from spectra.statistics.kinship.groups import (
    Grouping,
    effective_number,
    given,
    initialisation,
    lineage,
    one_run,
)
from spectra.statistics.kinship.relations import Relations
from spectra.statistics.plain import with_reason
from spectra.subspaces.result import Member, PopulationFit

__all__ = ["Groupings", "groupings_of", "population_document"]

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Groupings:
    """How a population groups.

    Attributes
    ----------
    ids
        Of all members.
    lineage, start
        Partitions; no `start` where there are no factors.
    relatives
        For each member the size of its lineage group, copies not counted.
    """

    ids: tuple[str, ...]
    lineage: Grouping
    start: Grouping | None
    relatives: tuple[int, ...]

    def labels(self, members: Sequence[int], /) -> tuple[int, ...]:
        """Return the lineage groups of members that have a layer."""
        found = (self.lineage.labels[i] for i in members)
        return tuple(label for label in found if label is not None)

    def starts(self, members: Sequence[int], /) -> tuple[int, ...]:
        """Return the initialisation groups; who has none is one alone."""
        if self.start is None:
            return tuple(-1 - i for i in members)
        found = ((i, self.start.labels[i]) for i in members)
        return tuple(-1 - i if label is None else label for i, label in found)


def groupings_of(
    models: Sequence[Member],
    relations: Relations,
    settings: OverlapSettings,
    /,
) -> Groupings:
    """Return how a population groups.

    Parameters
    ----------
    models
        The members.
    relations
        What they have in common.
    settings
        Thresholds, and groups where they are given; members that are ordered
        are one.

    Raises
    ------
    UsageError
        When groups are given, but not for every member.
    """
    ids = tuple(member.id for member in models)
    if settings.groups is not None:
        descent = given(settings.groups, ids, relations)
    elif settings.ordered:
        descent = one_run(relations)
    else:
        descent = lineage(relations, settings)
    sizes = descent.sizes(without=relations.twins)
    return Groupings(
        ids=ids,
        lineage=descent,
        start=initialisation(relations, settings),
        relatives=tuple(
            0 if label is None else sizes[label] for label in descent.labels
        ),
    )


def population_document(
    fit: PopulationFit,
    relations: Relations,
    groupings: Groupings,
    shares: Sequence[Mapping[int, float]],
    /,
) -> Document:
    """Return ``population`` of report.json.

    Parameters
    ----------
    fit
        The fit.
    relations
        What its members have in common.
    groupings
        How they group.
    shares
        For each layer, each group's share of the squared deviation norms.
    """
    n_groups, ids = groupings.lineage.count, groupings.ids
    n_models = int(relations.has_layer.sum())
    start = groupings.start
    found = start and _grouping_document(start, ids)
    return {
        "n_scanned": fit.n_scanned,
        "n_models": n_models,
        "n_unique": n_models - len(relations.twins),
        "n_groups": n_groups,
        **with_reason(
            "n_effective",
            effective_number(shares, n_groups),
            "no layer has three members that differ",
        ),
        "models": [
            _model_document(i, member, relations, groupings)
            for i, member in enumerate(fit.models)
        ],
        **with_reason(
            "initialisation", found, "no layer has factors to compare"
        ),
        "lineage": _grouping_document(groupings.lineage, ids),
    }


def _grouping_document(found: Grouping, ids: Sequence[str]) -> Document:
    groups: dict[int, list[str]] = {}
    for name, label in zip(ids, found.labels, strict=True):
        if label is not None:
            groups.setdefault(label, []).append(name)
    why = found.reason or ""
    return {
        **with_reason("threshold", found.threshold, why),
        **with_reason(
            "stable_range", list(found.stable) if found.stable else None, why
        ),
        "groups": [groups[label] for label in sorted(groups)],
    }


def _model_document(
    i: int, member: Member, relations: Relations, groupings: Groupings
) -> Document:
    twin = relations.twins.get(i)
    start = groupings.start.labels[i] if groupings.start else None
    analysed = bool(relations.has_layer[i])
    norm = float(relations.energies[i] ** 0.5) if analysed else None
    return {
        "id": member.id,
        "revision": member.revision,
        "license": member.license,
        "group": groupings.lineage.labels[i],
        "init_group": start,
        "duplicate_of": None if twin is None else groupings.ids[twin],
        **with_reason("norm", norm, "no layer of it was analysed"),
    }
