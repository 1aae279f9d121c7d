"""Numbers of single checkpoints as a report of a population holds them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.core.settings import OverlapSettings
from spectra.statistics.plain import number, with_reason
from spectra.statistics.spectrum.layer_score import (
    LayerScore,
    score_of,
    together,
)
from spectra.statistics.spectrum.panel import NUMBERS, STATUSES
from spectra.subspaces.result import MemberMetrics, PopulationFit

__all__ = [
    "metrics_document",
    "metrics_rows",
    "scores_document",
]

Document = dict[str, Any]

_UNASKED = "spectra fit --metrics asks for it"
_NO_FIT = "no checkpoint's spectrum has a power law"
_NONE_KEPT = "no layer is retained"


def metrics_document(
    found: MemberMetrics | None, settings: OverlapSettings, /
) -> Document:
    """Return what a layer's members are like one by one, and the score.

    Parameters
    ----------
    found
        None where it was not asked for.
    settings
        The band and thresholds of the score.
    """
    if found is None:
        return {
            **with_reason("metrics", None, _UNASKED),
            **with_reason("alpha_score", None, _UNASKED),
        }
    columns = dict(zip(NUMBERS, found.values.T, strict=True))
    score = score_of(found, settings)
    said = None if score is None else _said(score)
    return {
        "metrics": {name: _spread(x) for name, x in columns.items()},
        **with_reason("alpha_score", said, _NO_FIT),
    }


def scores_document(
    scores: Sequence[LayerScore | None], asked: bool, /
) -> Document:
    """Return the scores of all layers together.

    Parameters
    ----------
    scores
        Of each layer.
    asked
        Whether they were asked for.
    """
    known = [score for score in scores if score is not None]
    if not known:
        reason = _NO_FIT if asked else _UNASKED
        return with_reason("alpha_score", None, reason)
    kept = [score.q for score in known if score.retained]
    return {
        "alpha_score": {
            "n_layers": len(known),
            "n_retained": len(kept),
            "q_all": together([score.q for score in known]),
            **with_reason("q_arch", together(kept), _NONE_KEPT),
        }
    }


def metrics_rows(fit: PopulationFit, /) -> list[Document]:
    """Return one row a layer and member, where they were asked for.

    Parameters
    ----------
    fit
        A population.
    """
    return [
        {
            "layer": layer.name,
            "id": fit.models[member].id,
            **dict(zip(NUMBERS, map(number, values), strict=True)),
            "alpha_status": STATUSES[status],
        }
        for layer in fit.layers
        if layer.metrics is not None
        for member, values, status in zip(
            layer.members,
            layer.metrics.values,
            layer.metrics.statuses,
            strict=True,
        )
    ]


def _said(score: LayerScore) -> Document:
    return {
        "n": score.n,
        "mean": score.mean,
        "std": score.std,
        "in_range": score.in_range,
        "q": score.q,
        "retained": score.retained,
    }


def _spread(values: NDArray[np.float64]) -> Document:
    """Return how a number spreads over the members that have it."""
    known = values[np.isfinite(values)]
    spread: Document = {"n": len(known)}
    for name, of in (
        ("mean", np.mean), ("std", np.std), ("min", np.min), ("max", np.max),
    ):  # fmt: skip
        found = float(of(known)) if len(known) else None
        spread |= with_reason(name, number(found), "no member has it")
    return spread
