"""The numbers of two populations in one layer as a document holds them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from spectra.core.settings import OverlapSettings
from spectra.statistics.model_axis.effect import Effect
from spectra.statistics.model_axis.findings import levels_of
from spectra.statistics.plain import by_level, number, numbers, with_reason
from spectra.statistics.populations.crossed import Crossing, Held
from spectra.statistics.populations.crossed_sides import SideContrast
from spectra.statistics.populations.layer import Compared
from spectra.statistics.populations.likeness import Likeness

__all__ = ["WAYS", "compared_document"]

Document = dict[str, Any]
Levels = Sequence[int]

WAYS = ("a_to_b", "b_to_a")
"""What one population's directions hold of the other."""

_WHOLE = "the layer has no more dimensions"
_SPAN = "a population spans fewer directions"
_FEW = "too few independent groups, or no such directions"
_ALONE = "no two members of different groups have directions that may differ"


def compared_document(
    found: Compared, alike: Likeness, settings: OverlapSettings, /
) -> Document:
    """Return what a layer says of two populations.

    Parameters
    ----------
    found
        What it shows.
    alike
        The word for it.
    settings
        Levels.
    """
    crossing, levels = found.crossing, levels_of(settings)
    document: Document = {
        "n_models": list(found.n_members),
        "n_groups": list(found.n_groups),
        "n_across": found.n_across,
        "verdict": alike.word,
        "reasons": list(alike.reasons),
        **with_reason("k", alike.k, _FEW),
        **with_reason("p", alike.p, _FEW),
        "draws": found.draws,
    }
    for name, side in found.sides.items():
        key = f"{name}_side"
        document |= with_reason(key, _side_document(side), _ALONE)
    if crossing is None:
        keys = ("overlap", *WAYS, "means")
        none = dict.fromkeys(keys)
        return document | none | {f"{key}_reason": _FEW for key in keys}
    return document | {
        "overlap": _overlap_document(crossing, levels),
        "a_to_b": _held_document(crossing.of_b, found.effects[0], levels),
        "b_to_a": _held_document(crossing.of_a, found.effects[1], levels),
        "means": {
            "distance": crossing.means.distance,
            "expected": crossing.means.expected,
            **with_reason("p", number(crossing.means.p), _FEW),
        },
    }


def _overlap_document(crossing: Crossing, levels: Levels) -> Document:
    found = crossing.overlap
    chance = np.where(crossing.chance < 1, crossing.chance, np.nan)
    cosines = {
        str(k): numbers(values) or None
        for k, values in zip(levels, crossing.cosines, strict=True)
    }
    document = with_reason("cosines", cosines, _SPAN)
    for key, values, reason in (
        ("value", found.observed, _SPAN),
        ("chance", chance, _WHOLE),
        ("excess", (found.observed - chance) / (1 - chance), _SPAN),
        ("permuted", found.expected, _FEW),
        ("p_lower", found.p_lower, _FEW),
    ):
        document |= with_reason(key, by_level(levels, values), reason)
    return document


def _held_document(
    held: Held, effects: Mapping[int, Effect], levels: Levels
) -> Document:
    sums, deviation = held.sums, held.sums.deviation.sum()
    shown = {
        str(k): {
            "value": effects[k].value,
            "low": effects[k].low,
            "high": effects[k].high,
        }
        if k in effects
        else None
        for k in levels
    }
    document = with_reason("effect", shown, _FEW)
    for key, values, reason in (
        ("captured", held.captured.observed, _SPAN),
        ("captured_random", sums.random.sum(axis=0) / deviation, _SPAN),
        ("captured_secondary", sums.secondary.sum(axis=0) / deviation, _SPAN),
        ("p_lower", held.captured.p_lower, _FEW),
    ):
        document |= with_reason(key, by_level(levels, values), reason)
    return document


def _side_document(found: SideContrast | None) -> Document | None:
    if found is None:
        return None
    within = [number(value) for value in found.within]
    return {
        "between": found.between,
        "within": within,
        **({"within_reason": _ALONE} if None in within else {}),
        **with_reason("p", number(found.p), _FEW),
    }
