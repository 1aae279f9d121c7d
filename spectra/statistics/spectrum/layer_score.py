r"""How alike and how well trained a layer is over models, by power laws.

The layer score of the Universal Weight Subspace code (toshi2k2/unisub, README
at 2244a9a5): of a layer with exponents :math:`\alpha_1, \ldots, \alpha_N`,
:math:`q = (1 - e^{-N/20}) \, \overline{\varphi(\alpha)} \, e^{-\sigma}`, with
:math:`\varphi(\alpha) = e^{-(\alpha - 2) / 2}` from 2 to 6 and 0 elsewhere;
the band is a setting, and so is where it begins.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spectra.core.settings import OverlapSettings
from spectra.statistics.spectrum.panel import NUMBERS
from spectra.subspaces.result import MemberMetrics

__all__ = ["LayerScore", "layer_score", "score_of", "together"]

_MODELS = 20
_LEAST = 1e-12
"""Of a score in a geometric mean."""


@dataclass(frozen=True, slots=True)
class LayerScore:
    """The score of one layer.

    Attributes
    ----------
    n
        Models whose layer has an exponent.
    mean, std
        Of the exponents; std with n in the denominator.
    in_range
        Share of them in the band.
    q
        The score.
    retained
        Whether all four are within their thresholds.
    """

    n: int
    mean: float
    std: float
    in_range: float
    q: float
    retained: bool


def layer_score(
    alphas: Sequence[float], settings: OverlapSettings, /
) -> LayerScore | None:
    """Return the score of a layer; None where no model has an exponent.

    Parameters
    ----------
    alphas
        Of each model whose spectrum has a fit.
    settings
        The band and thresholds.
    """
    if not len(alphas):
        return None
    alpha = np.asarray(alphas, np.float64)
    low, high = settings.alpha_low, settings.alpha_high
    inside = (alpha >= low) & (alpha <= high)
    phi = np.where(inside, np.exp(-(alpha - low) / 2), 0.0)
    mean, std = float(alpha.mean()), float(alpha.std())
    share = float(inside.mean())
    enough = 1 - math.exp(-len(alpha) / _MODELS)
    q = enough * float(phi.mean()) * math.exp(-std)
    retained = (
        low <= mean <= high
        and std <= settings.alpha_std
        and share >= settings.alpha_in_range
        and q >= settings.alpha_score
    )
    return LayerScore(len(alpha), mean, std, share, q, retained)


def score_of(
    found: MemberMetrics | None, settings: OverlapSettings, /
) -> LayerScore | None:
    """Return the layer score of the members' exponents, where there are."""
    if found is None:
        return None
    alpha = found.values[:, NUMBERS.index("alpha")]
    return layer_score(alpha[np.isfinite(alpha)].tolist(), settings)


def together(scores: Sequence[float], /) -> float | None:
    """Return the geometric mean of layers' scores; None of no layer."""
    if not scores:
        return None
    logs = [math.log(max(q, _LEAST)) for q in scores]
    return math.exp(math.fsum(logs) / len(logs))
