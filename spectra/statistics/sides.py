"""The output and the input side of a layer, which are never centred."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.statistics.measures import explained
from spectra.statistics.plain import by_level, number, numbers, with_reason
from spectra.subspaces.result import LayerFit, SideFit

__all__ = ["pair_overlap", "side_document"]


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


def side_document(
    layer: LayerFit, side: SideFit, dimension: int, /, *, levels: Sequence[int]
) -> dict[str, Any]:
    """Return one side of a layer as report.json has it.

    Parameters
    ----------
    layer
        The layer.
    side
        Its output or its input side.
    dimension
        Of that side.
    levels
        The k to report.
    """
    shares = explained(side.eigenvalues, levels, total=side.trace)
    reason = (
        f"{len(side.eigenvalues)} directions of {dimension} are known"
        if side.trace > 0
        else "every member is zero"
    )
    pairs = pair_overlap(side.overlap, layer.ranks, dimension) or (None, None)
    empty = "no two members have a direction"
    return {
        "verdict": None,
        "verdict_reason": "null not run",
        "reasons": [],
        **with_reason("evr", by_level(levels, shares), reason),
        "null": {},
        "projector_mean": numbers(side.projector_mean),
        **with_reason("overlap_mean", number(pairs[0]), empty),
        **with_reason("overlap_null", number(pairs[1]), empty),
    }
