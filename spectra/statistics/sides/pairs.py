"""Every two members of a layer: how alike the subspaces of one side are."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.statistics.chance import random_overlap
from spectra.statistics.plain import number, numbers, with_reason
from spectra.statistics.sides.side import Side
from spectra.subspaces.result import SideFit

__all__ = ["pair_overlap", "pairs_document", "projector_edge"]

Document = dict[str, Any]

_HELD = 0.5
"""Share of a direction inside a member's subspace from which it has it."""

_OLDER = "the run file was made by an older version"


def pair_overlap(
    overlap: NDArray[np.float64], ranks: NDArray[np.int64], dimension: int, /
) -> tuple[float, float] | None:
    """Return the mean overlap of two members, and what chance would give.

    Parameters
    ----------
    overlap
        N x N squared Frobenius norms of the products of directions.
    ranks
        Directions of each member; pairs with a member of none are left out.
    dimension
        Of the side.
    """
    i, j = np.triu_indices(len(ranks), 1)
    fewer = np.minimum(ranks[i], ranks[j])
    more = np.maximum(ranks[i], ranks[j])
    some = fewer > 0
    if not some.any():
        return None
    shares = overlap[i, j][some] / fewer[some]
    return float(shares.mean()), float((more[some] / dimension).mean())


def projector_edge(ranks: NDArray[np.int64], dimension: int, /) -> float:
    """Return where the projector mean of random subspaces ends.

    Parameters
    ----------
    ranks
        Directions of each member.
    dimension
        Of the side.

    Notes
    -----
    The edge of the Marchenko-Pastur law, (q/d) (1 + sqrt(d / (N q)))^2.
    """
    total = float(ranks.sum())
    if total == 0:
        return 0.0
    edge = (1 + np.sqrt(dimension / total)) ** 2
    return min(1.0, float(total / len(ranks) / dimension * edge))


def pairs_document(side: Side, /) -> Document:
    """Return what is said of the pairs of members on one side of a layer."""
    layer, fit, dimension = side.layer, side.fit, side.dimension
    pairs = pair_overlap(fit.overlap, layer.ranks, dimension)
    mean, chance = pairs or (None, None)
    empty = "no two members have a direction"
    excess = None
    if mean is not None and chance is not None and chance < 1:
        excess = (mean - chance) / (1 - chance)
    many = "angles are found of at most 128 members"
    geodesic = None
    if fit.geodesic is not None:
        i, j = np.triu_indices(len(layer.members), 1)
        geodesic = float(fit.geodesic[i, j].mean())
    cosines = None if fit.cosines is None else numbers(fit.cosines)
    consensus = _consensus(side)
    spread = None
    if layer.ranks.max() > 0:
        q = int(layer.ranks.max())
        spread = number(random_overlap(q, q, dimension)[1])
    return {
        **with_reason("overlap_mean", number(mean), empty),
        **with_reason("overlap_null", number(chance), empty),
        **with_reason("overlap_null_std", spread, empty),
        **with_reason("overlap_excess", number(excess), empty),
        **with_reason("phi", _phi(fit), _OLDER),
        **with_reason("principal_cosines", cosines, many),
        **with_reason("geodesic_mean", number(geodesic), many),
        "projector_mean": numbers(fit.projector_mean),
        "projector_edge": projector_edge(layer.ranks, dimension),
        **with_reason("consensus", consensus, _OLDER),
    }


def _phi(fit: SideFit) -> list[list[float | None]] | None:
    """Return phi(k, l), the overlap of k and l leading directions."""
    if fit.phi is None:
        return None
    sums = np.cumsum(np.cumsum(fit.phi, axis=0), axis=1)
    counts = np.arange(1, len(sums) + 1)
    return [numbers(row) for row in sums / np.minimum.outer(counts, counts)]


def _consensus(side: Side) -> list[Document] | None:
    """Return how many members have each direction of the projector mean."""
    fit = side.fit
    if fit.consensus is None:
        return None
    chance = float(side.layer.ranks.mean() / side.dimension)
    return [
        {
            "shared_by": int(np.count_nonzero(column >= _HELD)),
            "of": len(column),
            "mean": float(mean),
            "chance": chance,
        }
        for column, mean in zip(
            fit.consensus.T, fit.projector_mean, strict=False
        )
    ]
