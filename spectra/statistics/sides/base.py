"""Where a layer's members lie in the weights of the base.

Do updates use what the base has most of (its leading singular vectors, where
PiSSA starts), what it hardly has (its last ones, where MiLoRA starts), or
neither? Every share stands beside its chance level.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.linalg.stacked import WIDE
from spectra.statistics.chance import random_overlap
from spectra.statistics.measures import explained
from spectra.statistics.plain import by_level, with_reason
from spectra.subspaces.intruders import EPSILON, LEADING, UNKNOWN
from spectra.subspaces.result import BaseFit, BaseSide, LayerFit, SideFit

__all__ = ["base_document"]

Document = dict[str, Any]
Levels = Sequence[int]
Vector = NDArray[np.float64]

_LEVELS = (16, 4, 1)
"""Where the two ends of the base are told apart: the first that is at most an
eighth of its directions."""

_TIMES_CHANCE = 2.0
"""Overlap over chance from which an end of the base is preferred."""

_DEVIATIONS = 3.0
"""And by how many standard deviations of one random subspace, at least:
members that share their frames count as one."""

_NOTHING = 1e-6
"""Share of the trace below which what is left of a side is rounding."""

_NO_BASE = "no base was given, or it lacks this layer or its shape"
_EMPTY = "every member is zero"
_PARTLY = "only the leading directions of so large a base are known"


@dataclass(frozen=True, slots=True)
class _Side:
    """One side beside the base.

    Attributes
    ----------
    q
        Mean number of directions of a member.
    d
        Dimensions.
    is_complete
        Whether all of the base's directions are known.
    """

    fit: SideFit
    base: BaseSide
    q: float
    d: int
    is_complete: bool


def base_document(layer: LayerFit, levels: Levels, /) -> Document:
    r"""Return ``base_alignment`` of a layer, with a reason where it is null.

    Parameters
    ----------
    layer
        One layer of a fit.
    levels
        The k to report.

    Notes
    -----
    With the base's singular vectors u_l of a side, and :math:`P_i` the
    projector on the q_i leading directions of member i, the overlap is
    :math:`\frac1N \sum_i \sum_l \|P_i u_l\|^2 / \min(k, q)` over the first
    or the last k of them, q the mean of the q_i. Chance is max(k, q) / d.
    """
    base, sides = layer.base, _sides(layer)
    if base is None or sides is None:
        reason = layer.base_fault or _NO_BASE
        return with_reason("base_alignment", None, reason)
    return {
        "base_alignment": {
            "output_side": _document(sides[0], levels),
            "input_side": _document(sides[1], levels),
            **with_reason("intruders", _intruders(base), _PARTLY),
            "relative_norm": _relative_norm(layer, base),
        }
    }


def _sides(layer: LayerFit) -> tuple[_Side, _Side] | None:
    output, input_ = layer.output, layer.input
    if output.base is None or input_.base is None:
        return None
    q, m = float(layer.ranks.mean()), min(layer.shape)
    is_complete = len(output.base.profile) == m
    return (
        _Side(output, output.base, q, layer.shape[0], is_complete),
        _Side(input_, input_.base, q, layer.shape[1], is_complete),
    )


def _document(side: _Side, levels: Levels) -> Document:
    base, m = side.base, len(side.base.hits)
    some = f"{m} directions of the base are known" if side.q > 0 else _EMPTY
    whole = some if side.is_complete else _PARTLY
    top = {str(k): _overlap(side, k, bottom=False) for k in levels}
    bottom = {str(k): _overlap(side, k, bottom=True) for k in levels}
    outside = None
    if side.is_complete and side.fit.trace > 0:
        outside = max(0.0, 1.0 - float(base.profile.sum()))
    return {
        **with_reason("top", top, some),
        **with_reason("bottom", bottom, whole),
        **_word(side),
        **with_reason("outside", outside, whole),
        "outside_chance": 1.0 - min(m, side.d) / side.d,
        "without_top": _without_top(side, levels),
    }


def _overlap(side: _Side, k: int, *, bottom: bool) -> Document | None:
    """Return k directions at one end of the base, beside what chance gives."""
    hits, profile = side.base.hits, side.base.profile
    if k > len(hits) or side.q == 0 or (bottom and not side.is_complete):
        return None
    chosen = slice(len(hits) - k, None) if bottom else slice(k)
    overlap = float(hits[chosen].sum()) / min(k, side.q)
    chance = max(k, side.q) / side.d
    _, deviation = random_overlap(k, max(1, round(side.q)), side.d)
    return {
        "overlap": overlap,
        "chance": chance,
        "chance_std": deviation,
        "ratio": overlap / chance,
        "energy": float(profile[chosen].sum()),
        "energy_chance": k / side.d,
    }


def _word(side: _Side) -> Document:
    """Return which end of the base the members' directions prefer."""
    m = len(side.base.hits)
    k = next((k for k in _LEVELS if 8 * k <= m), None)
    reason = None
    if side.q == 0:
        reason = _EMPTY
    elif not side.is_complete:
        reason = _PARTLY
    elif k is None:
        reason = f"{m} directions of the base are too few to have ends"
    elif 4 * side.q > side.d:
        reason = f"members have {side.q:.3g} of {side.d} directions"
    if k is None or reason is not None:
        return {"word": None, "word_reason": reason}
    ends = [
        name
        for name, bottom in (("top", False), ("bottom", True))
        if _is_preferred(_overlap(side, k, bottom=bottom))
    ]
    word = "both" if len(ends) > 1 else "".join(ends) or "neither"
    return {"word": word, "word_k": k}


def _is_preferred(end: Document | None) -> bool:
    if end is None:
        return False
    excess = end["overlap"] - end["chance"]
    return bool(
        end["ratio"] >= _TIMES_CHANCE
        and excess > _DEVIATIONS * end["chance_std"]
    )


def _without_top(side: _Side, levels: Levels) -> Document:
    """Return the side's spectrum without the base's leading directions.

    Of the whole trace, shares fall with what was taken away; of what is left,
    they say whether the members still agree there.
    """
    fit, base = side.fit, side.base
    left = base.left if fit.trace > 0 else None
    values = base.left_eigenvalues
    nothing = np.full(len(levels), np.nan)
    whole = rest = nothing
    reason = why = f"a side of full weights wider than {WIDE} is not formed"
    if values is not None:
        reason = why = f"{len(values)} directions are known"
        whole = explained(values, levels, total=fit.trace)
    if left is None:
        reason = why = _EMPTY
    elif left <= _NOTHING:
        why = "nothing is left"
    elif values is not None:
        rest = explained(values, levels, total=left * fit.trace)
    before = explained(fit.eigenvalues, levels, total=fit.trace)
    known = f"{len(fit.eigenvalues)} directions are known"
    return {
        "directions": base.removed,
        **with_reason("left", left, _EMPTY),
        "left_chance": 1.0 - base.removed / side.d,
        **with_reason(
            "evr_before",
            by_level(levels, before),
            known if fit.trace > 0 else _EMPTY,
        ),
        **with_reason("evr_of_all", by_level(levels, whole), reason),
        **with_reason("evr_of_rest", by_level(levels, rest), why),
    }


def _intruders(base: BaseFit) -> Document | None:
    """Return how many leading directions of a member the base lacks."""
    if base.intruders is None:
        return None
    counts = base.intruders[base.intruders != UNKNOWN]
    return {
        "members": len(counts),
        "leading": min(LEADING, len(base.values)),
        "epsilon": EPSILON,
        "mean": float(counts.mean()),
        "max": int(counts.max()),
        "share_of_members": float(np.mean(counts > 0)),
    }


def _relative_norm(layer: LayerFit, base: BaseFit) -> Document:
    norms = np.sqrt(np.maximum(0.0, np.diagonal(layer.gram))) / base.norm
    return {"median": float(np.median(norms)), "max": float(norms.max())}
