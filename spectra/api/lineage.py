"""The trees of descent of a population, as a user holds them."""

from dataclasses import dataclass
from typing import Any

from spectra.api.documented import Documented
from spectra.api.run import Run
from spectra.core.settings import OverlapSettings
from spectra.statistics.kinship.trees import lineage_document

__all__ = ["Lineage", "lineage"]


@dataclass(frozen=True, slots=True, repr=False)
class Lineage(Documented):
    """Who descends from whom, from the weights, beside what cards claim.

    Attributes
    ----------
    document
        ``groups`` of relatives with their ``edges``, who is ``alone``, and
        which are ``copies``, as a dictionary.
    run
        The run it was computed from.
    """

    document: dict[str, Any]
    run: Run


def lineage(run: Run, /, **settings: Any) -> Lineage:
    """Return who descends from whom; no weights are read.

    Parameters
    ----------
    run
        From `fit` or `load`.
    settings
        Fields of `OverlapSettings`: the thresholds of lineage.
    """
    document = lineage_document(run.value, OverlapSettings(**settings))
    return Lineage(document, run)
