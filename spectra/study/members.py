"""Models that are members of a run: their weights beside what they represent.

Two models whose weights overlap may be the more aligned for it, or because
they are of one descent: both are looked at.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.align.representations.mantel import mantel
from spectra.align.representations.relabelled import Relabelled
from spectra.core.errors import UsageError
from spectra.core.settings import OverlapSettings
from spectra.core.text import printable
from spectra.statistics.kinship.groups import lineage
from spectra.statistics.kinship.relations import Relations, relate
from spectra.statistics.plain import number
from spectra.statistics.streams import generator
from spectra.study.named import FEWEST_MODELS, named
from spectra.study.represented import Represented
from spectra.study.scores import resolved
from spectra.subspaces.result import PopulationFit

__all__ = ["Overlaps", "overlaps_of", "weights_document"]

Document = dict[str, Any]
Matrix = NDArray[np.float64]

_SMALL = 0.05


@dataclass(frozen=True, slots=True)
class Overlaps:
    """How the weights of models overlap.

    Attributes
    ----------
    run
        Its name.
    places
        Of the n models that are compared, among all.
    left_out
        Ids of the others.
    cosines
        (n, n), of whole updates or whole weights.
    first
        Of each lineage group the first model, by its place among the n.
    """

    run: str
    places: tuple[int, ...]
    left_out: tuple[str, ...]
    cosines: Matrix
    first: tuple[int, ...]


def overlaps_of(
    run: str, fit: PopulationFit, models: Sequence[Represented], /
) -> Overlaps:
    """Return how the weights of models overlap, as far as a run has them.

    Parameters
    ----------
    run
        Its name.
    fit
        What it holds.
    models
        Met by name with its members.

    Raises
    ------
    UsageError
        E_MEMBERS where a name is of two, or fewer than four are members that
        can be compared.
    """
    ids = [member.id for member in fit.models]
    names = named(models, ids, code="E_MEMBERS")
    relations = relate(fit.layers, len(ids), ())
    cosines = _whole(relations)
    members = {
        place: ids.index(name)
        for place, name in enumerate(names)
        if name is not None
    }
    kept = _comparable(members, cosines)
    if len(kept) < FEWEST_MODELS:
        raise UsageError(
            "E_MEMBERS",
            f"{len(kept)} of {len(models)} models are members of"
            f" {printable(run)} whose weights can be compared, fewer than"
            f" {FEWEST_MODELS}",
            advice=f"name them as its members, such as {printable(ids[0])}",
        )
    own = [members[place] for place in kept]
    labels = lineage(relations, OverlapSettings()).labels
    groups = [labels[member] for member in own]
    return Overlaps(
        run,
        tuple(kept),
        tuple(m.id for i, m in enumerate(models) if i not in kept),
        cosines[np.ix_(own, own)],
        tuple(groups.index(label) for label in dict.fromkeys(groups)),
    )


def _whole(relations: Relations) -> Matrix:
    """Return cosines of all updates that two have; else of whole weights."""
    lacks = np.isnan(relations.updates)
    return np.where(lacks, relations.weights, relations.updates)


def _comparable(members: Mapping[int, int], cosines: Matrix) -> list[int]:
    """Return the places that are left when each pair has a cosine."""
    kept = list(members)
    while kept:
        own = [members[place] for place in kept]
        lacks = np.isnan(cosines[np.ix_(own, own)]).sum(axis=1)
        if not lacks.any():
            break
        del kept[int(lacks.argmax())]
    return kept


def weights_document(
    overlaps: Overlaps,
    excess: Mapping[str, Matrix],
    ids: Sequence[str],
    /,
    *,
    seed: int,
) -> Document:
    """Return whether the overlap of weights goes with alignment.

    Parameters
    ----------
    overlaps
        Of the weights.
    excess
        Of each metric, models by models.
    ids
        Of all models.
    seed
        Of what is drawn.
    """
    places = np.ix_(overlaps.places, overlaps.places)
    names = [ids[place] for place in overlaps.places]
    return {
        "run": overlaps.run,
        "n_models": len(names),
        "n_groups": len(overlaps.first),
        "left_out": list(overlaps.left_out),
        "by_metric": [
            _entry(metric, overlaps, values[places], names, seed)
            for metric, values in excess.items()
        ],
    }


def _entry(
    metric: str,
    overlaps: Overlaps,
    aligned: Matrix,
    names: Sequence[str],
    seed: int,
) -> Document:
    cosines, first = overlaps.cosines, overlaps.first
    found = mantel(aligned, cosines, generator(seed, "models"))
    apart = None
    if len(first) >= FEWEST_MODELS:
        own = np.ix_(first, first)
        apart = mantel(aligned[own], cosines[own], generator(seed, "models"))
    return {
        "metric": metric,
        "r": number(found.value),
        "p": number(found.p),
        "n_permutations": len(found.drawn),
        "r_groups": None if apart is None else number(apart.value),
        "p_groups": None if apart is None else number(apart.p),
        "pairs": [
            {
                "a": names[i],
                "b": names[j],
                "overlap": float(cosines[i, j]),
                "alignment": float(aligned[i, j]),
            }
            for i, j in combinations(range(len(names)), 2)
        ],
        "text": _text(metric, found, len(names))
        + _among_groups(apart, len(first), len(names)),
    }


def _text(metric: str, found: Relabelled, n: int) -> str:
    if math.isnan(found.value):
        return f"{metric}: all pairs overlap alike, or are aligned alike"
    how = "alignment goes with the overlap of weights no more than by chance"
    if found.p <= _SMALL:
        more = "more" if found.value > 0 else "less"
        how = f"models whose weights overlap more are {more} aligned"
    return (
        f"{metric}: {how} (Mantel's r {found.value:.2f}, p = {found.p:.2g},"
        f" {n} models){resolved(found, n)}"
    )


def _among_groups(apart: Relabelled | None, n_groups: int, n: int) -> str:
    """Return what is left without relatives; nothing where there are none."""
    if n_groups == n:
        return ""
    if apart is None:
        return f"; lineage groups: {n_groups}, too few to tell from descent"
    if math.isnan(apart.value):
        return f"; alike among one of each of {n_groups} lineage groups"
    return (
        f"; among one of each of {n_groups} lineage groups r"
        f" {apart.value:.2f}, p = {apart.p:.2g}{resolved(apart, n_groups)}"
    )
