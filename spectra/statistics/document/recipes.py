"""Spectra of the paper's recipes as report.json holds them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from spectra.statistics.plain import by_level, numbers, with_reason
from spectra.subspaces.recipes.measured import RecipeSpectrum, Truncation

__all__ = ["recipe_document"]

_NOISE = "below the floor: rounding"
_FLAT = "the samples do not differ"
_NOT_REFINED = "hooi was not asked for"
_NONE = "no sample is left once the mean is taken"


def recipe_document(
    found: RecipeSpectrum, levels: Sequence[int], /
) -> dict[str, Any]:
    """Return one spectrum beside what independent models would have.

    Parameters
    ----------
    found
        Of one recipe, part and mode, in one layer.
    levels
        Of k.
    """
    above = found.eigenvalues > found.floor
    eigenvalues = np.where(above, found.eigenvalues, np.nan)
    shares, null = (
        [np.nan if value is None else value for value in map(of, levels)]
        for of in (found.evr, found.chance)
    )
    return {
        "recipe": found.recipe,
        **({"options": found.options} if found.options else {}),
        **({"part": found.part} if found.part else {}),
        **({} if found.mode is None else {"mode": found.mode}),
        "feature_dim": found.feature_dim,
        "n_samples": found.n_samples,
        "centring": found.centring,
        "eigenvalues": numbers(eigenvalues),
        **({} if above.all() else {"eigenvalues_reason": _NOISE}),
        **with_reason("evr", by_level(levels, shares), _FLAT),
        **with_reason("null", by_level(levels, null), _NONE),
        "saturated": {str(k): found.saturated(k) for k in levels},
        "truncated": found.truncated,
        **_decomposition(found.truncation),
        "caveat": found.caveat,
    }


def _decomposition(kept: Truncation | None) -> dict[str, Any]:
    if kept is None:
        return {}
    return {
        "ranks": list(kept.ranks),
        "error": kept.error,
        "error_bound": kept.bound,
        **with_reason("error_refined", kept.refined, _NOT_REFINED),
    }
