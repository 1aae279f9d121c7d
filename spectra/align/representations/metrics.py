"""The metrics, one row each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from spectra.align.representations.asked import Score
from spectra.align.representations.correlations import (
    basis,
    pwcca,
    scaled_basis,
    svcca,
)
from spectra.align.representations.distances import ranks, rsa
from spectra.align.representations.kernels import (
    cka_rbf,
    cka_rbf_debiased,
    rbf,
)
from spectra.align.representations.linear import (
    centred,
    cka,
    cka_debiased,
    procrustes,
)
from spectra.align.representations.neighbours import neighbours
from spectra.align.representations.relative import directions, relative
from spectra.align.representations.shared import (
    cknna,
    cycle_knn,
    edit_knn,
    lcs_knn,
    mutual_knn,
)
from spectra.core.errors import UsageError

__all__ = ["DEFAULT", "METRICS", "Metric", "metrics_named"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One measure of how alike two representations of the same items are.

    Attributes
    ----------
    prepare
        What it needs of one representation, from features (n, d) and what
        was asked for.
    compare
        Of two of these, how alike they are.
    is_directed
        Whether a with b is another number than b with a.
    most
        Items beyond which so many are drawn; None for all.
    """

    name: str
    prepare: Callable[..., Any]
    compare: Callable[[Any, Any], Score]
    cite: str
    is_directed: bool = False
    most: int | None = None


_HUH = "Huh et al. 2024"
_KORNBLITH = "Kornblith et al. 2019"
_NGUYEN = "Nguyen et al. 2021"

METRICS = (
    Metric("mutual-knn", neighbours, mutual_knn, _HUH),
    Metric("cycle-knn", neighbours, cycle_knn, _HUH, is_directed=True),
    Metric("lcs-knn", neighbours, lcs_knn, _HUH),
    Metric("edit-knn", neighbours, edit_knn, _HUH),
    Metric("cknna", neighbours, cknna, _HUH, is_directed=True),
    Metric("cka", centred, cka, _KORNBLITH),
    Metric("cka-debiased", centred, cka_debiased, _NGUYEN),
    Metric("cka-rbf", rbf, cka_rbf, _KORNBLITH),
    Metric("cka-rbf-debiased", rbf, cka_rbf_debiased, _NGUYEN),
    Metric("procrustes", centred, procrustes, "Schönemann 1966"),
    Metric("svcca", scaled_basis, svcca, "Raghu et al. 2017"),
    Metric("pwcca", basis, pwcca, "Morcos et al. 2018", is_directed=True),
    Metric("rsa", ranks, rsa, "Kriegeskorte et al. 2008", most=4096),
    Metric("relative", directions, relative, "Moschella et al. 2023"),
)

DEFAULT = ("mutual-knn", "cka-debiased")
"""The paper's own, and the one whose chance level needs no correction."""


def metrics_named(names: tuple[str, ...], /) -> tuple[Metric, ...]:
    """Return the metrics of some names, in the order of the table.

    Raises
    ------
    UsageError
        E_METRIC where there is none of a name.
    """
    known = [metric.name for metric in METRICS]
    for name in names:
        if name not in known:
            raise UsageError(
                "E_METRIC",
                f"there is no metric {name!r}",
                advice=f"choose among {', '.join(known)}",
            )
    asked = set(names or DEFAULT)
    return tuple(metric for metric in METRICS if metric.name in asked)
