"""The output and the input side of a layer, which are never centred."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.core.settings import OverlapSettings
from spectra.linalg.solvers import eigvalsh
from spectra.statistics.measures import explained
from spectra.statistics.nulls.table import SIDE_NULL
from spectra.statistics.plain import by_level, with_reason
from spectra.statistics.sides.null import (
    AFFORDABLE,
    SIDE_DRAWS,
    SideDraws,
    SideNull,
    draw_sides,
    seconds,
    side_nulls,
)
from spectra.statistics.sides.pairs import pairs_document
from spectra.statistics.sides.side import Side
from spectra.statistics.sides.stability import SideStability, side_stability
from spectra.statistics.sides.verdict import Excess, SideEvidence, judge_side
from spectra.statistics.streams import stream
from spectra.subspaces.result import SideFit

__all__ = ["SideFindings", "side_document", "study_side"]

Document = dict[str, Any]
Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SideFindings:
    """What was drawn and resampled of one side.

    Attributes
    ----------
    n_starts
        Initialisation groups among the layer's members.
    nulls
        Each null with its draws; empty where none was drawn.
    stability
        None for too few folds.
    not_drawn
        Why there are no draws.
    """

    n_starts: int
    nulls: Mapping[str, tuple[SideNull, SideDraws]]
    stability: SideStability | None
    not_drawn: str = "null not run"


def study_side(
    side: Side,
    n_starts: int,
    settings: OverlapSettings,
    /,
    *,
    levels: Sequence[int],
) -> SideFindings:
    """Return what is drawn and resampled of one side.

    Parameters
    ----------
    side
        The side.
    n_starts
        Initialisation groups among the layer's members.
    settings
        What was asked for.
    levels
        The k to report.
    """
    layer = side.layer
    drawn = {}
    if layer.ranks.max() > 0 and _is_drawn(side, settings):
        base, q = side.fit.base, int(layer.ranks.max())
        profile = None if base is None else base.profile
        for null in side_nulls(profile, q, side.dimension):
            draws = draw_sides(
                null, side, levels,
                draws=SIDE_DRAWS,
                rng=stream(layer, settings, side.name, null.name),
            )  # fmt: skip
            drawn[null.name] = null, draws
    return SideFindings(
        n_starts,
        drawn,
        side_stability(
            side.fit.folds,
            levels,
            stream(layer, settings, side.name, "stability"),
        ),
        f"null not run; ask for it with --null {SIDE_NULL}",
    )


def _is_drawn(side: Side, settings: OverlapSettings) -> bool:
    n, q = side.layer.singular_values.shape
    cost = seconds(n, q, side.dimension, SIDE_DRAWS)
    return SIDE_NULL in settings.null or cost <= AFFORDABLE


def side_document(
    side: Side,
    /,
    *,
    levels: Sequence[int],
    found: SideFindings | None = None,
    settings: OverlapSettings | None = None,
) -> Document:
    """Return one side of a layer as report.json has it.

    Parameters
    ----------
    side
        The side.
    levels
        The k to report.
    found
        What was drawn of it.
    settings
        With the thresholds of the verdict.
    """
    fit = side.fit
    shares = explained(fit.eigenvalues, levels, total=fit.trace)
    reason = (
        f"{len(fit.eigenvalues)} directions of {side.dimension} are known"
        if fit.trace > 0
        else "every member is zero"
    )
    return {
        **_judged(side, found, settings),
        **with_reason("evr", by_level(levels, shares), reason),
        "null": _nulls(fit, levels, found),
        **pairs_document(side),
        "stability": _stability(levels, found),
    }


def _alone(side: SideFit, levels: Sequence[int]) -> Vector:
    """Return the EVR of one member of each group."""
    if side.folds is None:
        return np.full(len(levels), np.nan)
    values = eigvalsh(side.folds.sums.sum(axis=0))[::-1]
    total = float(side.folds.traces.sum())
    return explained(np.maximum(0.0, values), levels, total=total)


def _judged(
    side: Side, found: SideFindings | None, settings: OverlapSettings | None
) -> Document:
    layer, fit, dimension = side.layer, side.fit, side.dimension
    nothing: Document = {"verdict": None, "reasons": []}
    if found is None or settings is None or not found.nulls:
        why = "null not run" if found is None else found.not_drawn
        return {**nothing, "verdict_reason": why}
    _, draws = next(iter(found.nulls.values()))
    possible = [
        k for k in draws.levels if k in (1, 4, 16) and 2 * k < dimension
    ]
    if not possible or fit.folds is None or layer.fold_of is None:
        why = f"{dimension} dimensions are too few to share some of them"
        return {**nothing, "verdict_reason": why}
    k = max(possible)
    column = draws.levels.index(k)
    observed = explained(fit.eigenvalues, (k,), total=fit.trace)
    evidence = SideEvidence(
        k=k,
        n_members=len(layer.members),
        n_alone=int(np.count_nonzero(layer.fold_of >= 0)),
        n_starts=found.n_starts,
        every=_excess(float(observed[0]), draws.every[:, column]),
        alone=_excess(float(_alone(fit, (k,))[0]), draws.alone[:, column]),
    )
    verdict, why = judge_side(evidence, settings)
    return {"verdict": verdict, "reasons": [why]}


def _excess(observed: float, drawn: Vector) -> Excess:
    spread = float(drawn.std(ddof=1))
    excess = observed - float(drawn.mean())
    # Draws that agree to rounding: members fill the side.
    z = excess / spread if spread > 1e-9 else 0.0
    return Excess(observed, float(drawn.mean()), z)


def _nulls(
    side: SideFit, levels: Sequence[int], found: SideFindings | None
) -> Document:
    if found is None:
        return {}
    every = explained(side.eigenvalues, levels, total=side.trace)
    alone = _alone(side, levels)
    return {
        name: {
            "keeps": null.keeps,
            "cite": null.cite,
            "draws": len(draws.every),
            **_beside("evr", levels, every, draws.every),
            **_beside("evr_one_per_group", levels, alone, draws.alone),
        }
        for name, (null, draws) in found.nulls.items()
    }


def _beside(
    key: str, levels: Sequence[int], observed: Vector, drawn: Any
) -> Document:
    entries: Document = {}
    for place, k in enumerate(levels):
        column = drawn[:, place]
        if np.isnan(column).any() or np.isnan(observed[place]):
            entries[str(k)] = None
            continue
        excess = _excess(float(observed[place]), column)
        above = int(np.sum(column >= observed[place] - 1e-9))
        entries[str(k)] = {
            "observed": excess.observed,
            "mean": excess.mean,
            "q95": float(np.quantile(column, 0.95)),
            "z": excess.z,
            "p": (1 + above) / (1 + len(column)),
        }
    return with_reason(key, entries, "so many directions are not known")


def _stability(levels: Sequence[int], found: SideFindings | None) -> Document:
    few = "fewer than four folds of independent members"
    nothing = dict.fromkeys(map(str, levels))
    if found is None or found.stability is None:
        return {
            "split_half": nothing, "split_half_null": nothing,
            "davis_kahan": None, "reasons": [few],
        }  # fmt: skip
    stability = found.stability
    bound = stability.davis_kahan
    halves = by_level(levels, stability.split_half)
    small = "the side has too few dimensions"
    drawn = nothing
    for _, draws in list(found.nulls.values())[:1]:
        drawn = by_level(levels, draws.split_half.mean(axis=0))
    return {
        "folds": stability.folds,
        **with_reason("split_half", halves, small),
        **with_reason("split_half_null", drawn, found.not_drawn),
        "davis_kahan": bound if bound < 1 else "vacuous",
        "davis_kahan_k": stability.k,
    }
