"""Units that answer to the same items alike, as a user holds them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spectra.api.documented import Documented
from spectra.core.events import Observer
from spectra.study.units import UnitsAsked, match_units

__all__ = ["MatchedUnits", "units"]


@dataclass(frozen=True, slots=True, repr=False)
class MatchedUnits(Documented):
    """Units of two models that are each other's nearest.

    Attributes
    ----------
    document
        What ``spectra units --json`` prints.
    """

    document: dict[str, Any]

    @property
    def units(self) -> list[dict[str, Any]]:
        """Return the pairs of units, most alike first, as in the document."""
        return list(self.document["units"])


def units(
    a: str | Path,
    b: str | Path,
    /,
    *,
    draws: int = 99,
    seed: int = 0,
    on_event: Observer | None = None,
) -> MatchedUnits:
    """Find units of two models that answer to the same items alike.

    Parameters
    ----------
    a, b
        Files of features of the same items, or checkpoints, as of
        `~spectra.alignment`.
    draws
        Permutations of b's items, at least 19.
    seed
        Of these.
    on_event
        Told of each permutation of a pair of layers.

    Raises
    ------
    UsageError
        When a source cannot be used, or there are too few items or draws.
    """
    asked = UnitsAsked(draws=draws, seed=seed)
    return MatchedUnits(match_units(str(a), str(b), asked, on_event=on_event))
