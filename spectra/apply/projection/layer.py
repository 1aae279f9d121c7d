"""Where one more map lies among the members of a layer.

All of it is made from inner products: the members' with each other, which the
run holds, and N of theirs with the newcomer (`spectra.subspaces.newcomer`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spectra.core.settings import OverlapSettings
from spectra.statistics import measures
from spectra.statistics.kinship.population import Groupings
from spectra.statistics.model_axis.findings import levels_of
from spectra.statistics.model_axis.held_out import (
    HeldOut,
    Seen,
    hold_out,
    seen_by_others,
)
from spectra.statistics.plain import by_level, number, with_reason
from spectra.statistics.sides.side import SIDES
from spectra.statistics.vectors import Deviations, Matrix, Vector, deviations
from spectra.subspaces.newcomer import Newcomer
from spectra.subspaces.result import LayerFit

__all__ = [
    "AT_MEAN",
    "COMMON",
    "IN_SAMPLE",
    "ONE_GROUP",
    "SHORT",
    "ZERO",
    "Placed",
    "layer_document",
    "place",
    "standing",
]

Document = dict[str, Any]

_NEAREST = 5

SHORT = "the members span fewer directions"
IN_SAMPLE = "it has the bytes of a member, which helped to make the directions"
ONE_GROUP = "the members are one lineage group: none is judged by others"

AT_MEAN = "it does not differ from the members' mean by more than rounding"
COMMON = (
    "the mean holds the members' common start, so shares are of the deviation"
    " from it"
)
ZERO = "it is zero"
_UNKEPT = "its directions are not in the run: fit with --save-directions"


@dataclass(frozen=True, slots=True)
class Placed:
    """A newcomer in one layer.

    Attributes
    ----------
    axis
        The members, in the order of their ids, as are all values below.
    seen
        The newcomer as all of them see it; None where it is at their mean.
    deviation, energy
        Its squared distance from their mean, its squared norm.
    cosines
        Of its deviation with each member's; NaN for members at the mean.
    products
        Inner products of the maps themselves.
    groups, held_out
        The lineage groups of the members, and each as the others see it;
        None for fewer than two.
    copies
        Indices into the population of members with the same bytes.
    """

    axis: Deviations
    seen: Seen | None
    deviation: float
    energy: float
    cosines: Vector
    products: Vector
    groups: tuple[int, ...]
    held_out: HeldOut | None
    copies: tuple[int, ...]


def place(
    layer: LayerFit,
    newcomer: Newcomer,
    groupings: Groupings,
    settings: OverlapSettings,
    /,
) -> Placed:
    """Return where a newcomer lies in a layer.

    Parameters
    ----------
    layer
        One layer of a fit.
    newcomer
        Its products with the members.
    groupings
        Of the whole population.
    settings
        Levels of k.
    """
    axis = deviations(layer, groupings.ids)
    rows = {member: row for row, member in enumerate(layer.members)}
    order = [rows[member] for member in axis.members]
    cross, gram = newcomer.cross[order], layer.gram[np.ix_(order, order)]
    labels = groupings.labels(axis.members)
    means = gram.mean(axis=0)
    to_mean = (newcomer.energy - newcomer.deviation - means.mean()) / 2
    return Placed(
        axis=axis,
        seen=_seen(axis, cross, newcomer.deviation),
        deviation=newcomer.deviation,
        energy=newcomer.energy,
        cosines=_cosines(axis, cross, newcomer.deviation),
        products=cross + to_mean + means,
        groups=tuple(dict.fromkeys(labels)),
        held_out=hold_out(
            axis.K, axis.energies, labels,
            levels=levels_of(settings), floor=axis.floor,
        ),
        copies=_copies(layer, newcomer),
    )  # fmt: skip


def _seen(axis: Deviations, cross: Vector, deviation: float) -> Seen | None:
    if deviation <= axis.floor:
        return None
    n = axis.n
    K = np.empty((n + 1, n + 1))
    K[:n, :n], K[n, :n], K[:n, n], K[n, n] = axis.K, cross, cross, deviation
    # Nothing is asked of the newcomer as it stands: no h.
    return seen_by_others(
        K, np.zeros(n + 1), np.arange(n + 1) == n, axis.floor
    )


def _cosines(axis: Deviations, cross: Vector, deviation: float) -> Vector:
    own = np.diagonal(axis.K)
    cosines = np.full(axis.n, np.nan)
    there = own > axis.floor
    if deviation > axis.floor:
        cosines[there] = cross[there] / np.sqrt(own[there] * deviation)
    return np.asarray(np.clip(cosines, -1.0, 1.0))


def _copies(layer: LayerFit, newcomer: Newcomer) -> tuple[int, ...]:
    same = {
        member
        for member, digest in zip(layer.members, layer.digests, strict=True)
        if digest == newcomer.digest
    }
    same |= {copy for copy, kept in layer.duplicates if kept in same}
    return tuple(sorted(same))


def layer_document(
    layer: LayerFit,
    newcomer: Newcomer,
    placed: Placed,
    ids: Sequence[str],
    settings: OverlapSettings,
    /,
    *,
    learned_mean: bool,
) -> Document:
    """Return one of ``layers`` of the document.

    Parameters
    ----------
    layer, newcomer
        The layer, and the newcomer's products with its members.
    placed
        Where it lies.
    ids
        Of the population.
    settings
        Levels of k.
    learned_mean
        Whether members started from zero, so that their mean was learned.
    """
    levels = levels_of(settings)
    return {
        "name": layer.name,
        "architecture": layer.architecture,
        "kind": layer.kind,
        "shape": list(layer.shape),
        "n_models": placed.axis.n,
        "norm": float(np.sqrt(placed.energy)),
        "deviation": float(np.sqrt(placed.deviation)),
        **_shares(placed, levels),
        **_beyond_mean(placed, learned_mean=learned_mean),
        **_nearest(placed, ids),
        "copies": [ids[i] for i in placed.copies],
        **_members(placed, levels),
        **{
            f"{side}_side": _side(layer, newcomer, side, levels)
            for side in SIDES
        },
    }


def _shares(placed: Placed, levels: Sequence[int]) -> Document:
    seen = placed.seen
    document: Document = {}
    nothing = [float("nan")] * len(levels)
    sums = {
        "captured": seen.captured(levels) if seen else nothing,
        "captured_random": seen.random(levels) if seen else nothing,
        "captured_secondary": seen.secondary(levels) if seen else nothing,
    }
    for key, held in sums.items():
        # Up to rounding: NaN stays, and is null.
        shares = np.minimum(1.0, np.array(held) / (placed.deviation or 1.0))
        document |= with_reason(
            key, by_level(levels, shares), SHORT if seen else AT_MEAN
        )
    return document


def _beyond_mean(placed: Placed, *, learned_mean: bool) -> Document:
    if not learned_mean:
        return {"r2_mean": 0.0, "r2_mean_reason": COMMON}
    there = placed.energy > 0
    value = 1 - placed.deviation / placed.energy if there else None
    return with_reason("r2_mean", number(value), ZERO)


def _nearest(placed: Placed, ids: Sequence[str]) -> Document:
    """Return the members whose deviations point its way, the nearest first."""
    scale = np.sqrt(placed.energy * placed.axis.energies)
    plain = np.full(placed.axis.n, np.nan)
    np.divide(placed.products, scale, out=plain, where=scale > 0)
    rows = [i for i, c in enumerate(placed.cosines) if np.isfinite(c)]
    rows.sort(key=lambda i: (-placed.cosines[i], i))
    found = [
        {
            "id": ids[placed.axis.members[i]],
            "cosine": float(placed.cosines[i]),
            **with_reason(
                "cosine_whole", number(np.clip(plain[i], -1.0, 1.0)), ZERO
            ),
        }
        for i in rows[:_NEAREST]
    ]
    reason = AT_MEAN if placed.seen is None else "members do not differ"
    return {"nearest": found} if found else {
        "nearest": found, "nearest_reason": reason,
    }  # fmt: skip


def _members(placed: Placed, levels: Sequence[int]) -> Document:
    """Return what the others hold of each lineage group of the members."""
    held = placed.held_out
    if held is None:
        return with_reason("members", None, ONE_GROUP)
    with np.errstate(invalid="ignore", divide="ignore"):
        captured = held.captured / held.deviation[:, None]
        random = held.random / held.deviation[:, None]
    mine: Vector | str = AT_MEAN
    if placed.copies:
        mine = IN_SAMPLE
    elif placed.seen is not None:
        mine = np.array(placed.seen.captured(levels)) / placed.deviation
    return {"members": standing(captured, random, mine, levels)}


def standing(
    captured: Matrix,
    random: Matrix,
    mine: Vector | str,
    levels: Sequence[int],
    /,
) -> Document:
    """Return the range of the members' shares, and the newcomer's place.

    Parameters
    ----------
    captured, random
        (groups, levels) shares of each group, held out.
    mine
        The newcomer's, or why it has no place among them.
    levels
        The k.
    """
    few = "the others span fewer directions"
    whole = [bool(np.isfinite(column).all()) for column in captured.T]
    spread = {
        str(k): {
            "least": float(captured[:, j].min()),
            "median": float(np.median(captured[:, j])),
            "most": float(captured[:, j].max()),
        }
        if whole[j]
        else None
        for j, k in enumerate(levels)
    }
    own = np.full(len(levels), np.nan) if isinstance(mine, str) else mine
    below = [
        float(np.mean(captured[:, j] <= own[j]))
        if whole[j] and np.isfinite(own[j])
        else float("nan")
        for j in range(len(levels))
    ]
    medians = np.median(random, axis=0)
    return {
        "n_groups": len(captured),
        **with_reason("captured", spread, few),
        **with_reason("captured_random", by_level(levels, medians), few),
        **with_reason(
            "place", by_level(levels, below),
            mine if isinstance(mine, str) else few,
        ),
    }  # fmt: skip


def _side(
    layer: LayerFit, newcomer: Newcomer, side: str, levels: Sequence[int]
) -> Document:
    """Return what the run's joint directions of a side hold of the map."""
    held = newcomer.output if side == "output" else newcomer.input
    fit = layer.output if side == "output" else layer.input
    dimension = layer.shape[SIDES.index(side)]
    shares = np.full(len(levels), np.nan)
    reason = _UNKEPT
    if held is not None:
        shares = measures.explained(held, levels, total=newcomer.energy)
        reason = "the run has fewer of its directions"
    members = measures.explained(fit.eigenvalues, levels, total=fit.trace)
    return {
        **with_reason("captured", by_level(levels, shares), reason),
        "chance": {str(k): min(1.0, k / dimension) for k in levels},
        **with_reason(
            "members", by_level(levels, members),
            "the run has fewer of its eigenvalues",
        ),
    }  # fmt: skip
