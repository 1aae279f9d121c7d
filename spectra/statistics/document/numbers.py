"""The numbers of a layer as report.json holds them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.statistics import measures
from spectra.statistics.model_axis.findings import Findings
from spectra.statistics.model_axis.held_out import HeldOut
from spectra.statistics.nulls.draws import Null, NullDraws
from spectra.statistics.plain import by_level, number, numbers, with_reason
from spectra.statistics.vectors import Deviations

__all__ = ["held_out_document", "null_document", "spectrum_document"]

Document = dict[str, Any]
Levels = Sequence[int]
Vector = NDArray[np.float64]

_NOISE = "below the floor: noise of storage or of arithmetic"
_FEW = "deviation norms need at least three members"
_EMPTY = "every member is zero"
_COMMON = "the mean holds the members' common start"
_RATIOS = (
    "basis", "basis_only", "random", "secondary", "captured",
    "captured_random",
)  # fmt: skip


def spectrum_document(axis: Deviations, levels: Levels, /) -> Document:
    """Return the spectrum of the deviations and what to hold it against."""
    short = f"{axis.n} members leave {axis.n - 1} directions"
    flat = short if axis.energy > 0 else _EMPTY
    above = axis.eigenvalues > axis.floor
    eigenvalues = np.where(above, axis.eigenvalues, np.nan)
    few = _FEW if axis.n < 3 else flat
    small = f"{few}; members below the floor are left out"
    shares = {
        "evr": (measures.evr(axis, levels), flat),
        "expected_isotropic": (
            measures.expected_isotropic(axis.n, levels), short,
        ),
        "expected_norms": (measures.expected_norms(axis, levels), few),
        "unit_norm_evr": (measures.unit_norm_evr(axis, levels), small),
        "expected_unit_norm": (
            measures.expected_unit_norm(axis, levels), small,
        ),
    }  # fmt: skip
    document: Document = {
        "energy": axis.energy,
        **with_reason("mean_fraction", number(axis.mean_fraction), _EMPTY),
        "eigenvalues": numbers(eigenvalues),
        **({} if above.all() else {"eigenvalues_reason": _NOISE}),
        "floor": axis.floor,
        **with_reason(
            "participation_ratio",
            number(measures.participation_ratio(axis)),
            "members do not differ",
        ),
    }
    for key, (values, reason) in shares.items():
        document |= with_reason(key, by_level(levels, values), reason)
    return document


def held_out_document(found: Findings, levels: Levels, /) -> Document:
    """Return what the other groups, and the other members, know of one."""
    common = found.learned_mean
    alone = "one lineage group: there is no other to judge it by"
    groups = _ratios(found.held_out, levels, alone, common=common)
    single = _ratios(found.one_out, levels, "one member", common=common)
    return {
        "folds": found.n_groups,
        "by_group": True,
        **groups,
        "r2": groups["r2"] | _mean_document(found),
        "effect": _effect_document(found),
        "leave_one_out": {"folds": found.axis.n, **single},
    }


def _ratios(
    sums: HeldOut | None, levels: Levels, alone: str, *, common: bool
) -> Document:
    """Return ratios of sums, null with the reason `alone` without any.

    Whole weights are judged by their deviation, since their mean is a common
    start; and a basis without that start says nothing.
    """
    shares = dict.fromkeys(_RATIOS, np.full(len(levels), np.nan))
    reason = alone
    if sums is not None:
        reason = "the others span fewer directions"
        shares = _shares(sums, common=common)
    by_k = {
        key: with_reason(key, by_level(levels, values), reason)
        for key, values in shares.items()
    }
    if not common:
        nothing = dict.fromkeys(map(str, levels))
        by_k["basis_only"] = with_reason("basis_only", nothing, _COMMON)
    r2: Document = {}
    if common:
        with np.errstate(invalid="ignore"):
            mean = sums and 1 - sums.deviation.sum() / sums.energy.sum()
        r2 = with_reason("mean", mean and number(mean), alone)
    for key in ("basis", "basis_only", "random", "secondary"):
        r2 |= by_k[key]
    return {"r2": r2, **by_k["captured"], **by_k["captured_random"]}


def _shares(sums: HeldOut, *, common: bool) -> dict[str, Vector]:
    deviation = sums.deviation.sum()
    whole = sums.energy.sum() if common else deviation
    held = {
        "basis": sums.captured, "random": sums.random,
        "secondary": sums.secondary,
    }  # fmt: skip
    with np.errstate(invalid="ignore", divide="ignore"):
        r2 = {
            key: 1 - (deviation - part.sum(axis=0)) / whole
            for key, part in held.items()
        }
        return r2 | {
            "basis_only": sums.basis_only.sum(axis=0) / whole,
            "captured": sums.captured.sum(axis=0) / deviation,
            "captured_random": sums.random.sum(axis=0) / deviation,
        }


def _mean_document(found: Findings) -> Document:
    if not found.learned_mean:
        return {
            "mean": None if found.held_out is None else 0.0,
            "mean_reason": f"{_COMMON}, so ratios are of the deviation"
            " from it",
        }
    if found.mean is None:
        return {"mean": None, "mean_reason": "nothing to hold out"}
    return {
        "mean": found.mean.value,
        "mean_low": found.mean.low,
        "mean_high": found.mean.high,
    }


def _effect_document(found: Findings) -> Document:
    if found.effect is None:
        return {
            "k": None, "value": None, "low": None, "high": None,
            "reason": f"{found.n_groups} groups are too few, or nothing"
            " deviates",
        }  # fmt: skip
    effect = found.effect
    return {
        "k": effect.k,
        "value": effect.value,
        "low": effect.low,
        "high": effect.high,
        "low_one_per_start": (
            found.one_per_start.low if found.one_per_start else None
        ),
    }


def null_document(
    null: Null,
    found: NullDraws | str,
    levels: Levels,
    /,
    *,
    adjusted: Sequence[float],
    rates: Sequence[float],
) -> Document:
    """Return a layer beside a null.

    Parameters
    ----------
    null
        Which.
    found
        Its draws, or why there are none.
    levels
        The k to report.
    adjusted, rates
        p adjusted for the number of layers, one a level: for the chance of
        any false finding, and for the expected share of false ones.
    """
    stated = {
        "keeps": null.keeps,
        "cite": null.cite,
        "statistic": null.statistic.name,
    }
    if isinstance(found, str):
        nothing = {str(k): None for k in levels}
        return {**stated, "draws": 0, "evr": nothing, "evr_reason": found}
    rows = {
        str(k): _null_row(found, k)
        | {"p_adjusted": adjusted[place], "q": rates[place]}
        if k in found.levels
        else None
        for place, k in enumerate(levels)
    }
    short = "the members leave fewer directions"
    drawn = len(found.drawn)
    return {**stated, "draws": drawn, **with_reason("evr", rows, short)}


def _null_row(found: NullDraws, k: int) -> dict[str, float]:
    column = found.levels.index(k)
    drawn = found.drawn[:, column]
    return {
        "mean": float(drawn.mean()),
        "q95": float(np.quantile(drawn, 0.95)),
        "z": found.standardised(k)[0],
        "p": float(found.p[column]),
    }
