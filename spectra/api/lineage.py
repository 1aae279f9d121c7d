"""The trees of descent of a population, as a user holds them."""

from dataclasses import dataclass
from typing import Any

from spectra.api.run import Run
from spectra.core.settings import OverlapSettings
from spectra.statistics.kinship.trees import lineage_document

__all__ = ["Lineage", "lineage"]


@dataclass(frozen=True, slots=True, repr=False)
class Lineage:
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

    def __repr__(self) -> str:
        """Return one line."""
        return f"Lineage({self.document['text']})"


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
