"""Networks aligned to one of them, as a user holds the result."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from spectra.api.catalog import Catalog
from spectra.api.documented import Documented
from spectra.core.events import Observer
from spectra.core.text import printable
from spectra.study.matching import FEWEST_DRAWS, match_networks

__all__ = ["Match", "match"]


@dataclass(frozen=True, slots=True, repr=False)
class Match(Documented):
    """How alike networks are once their hidden units are in one order.

    Attributes
    ----------
    document
        What ``spectra match --json`` prints.
    """

    document: dict[str, Any]

    def __repr__(self) -> str:
        """Return one line."""
        return (
            f"Match({len(self.document['members'])} networks,"
            f" {len(self.layers)} layers)"
        )

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(printable(member['id']))}</td>"
            f"<td>{_number(member['unaligned'])}</td>"
            f"<td>{_number(member['aligned'])}</td></tr>"
            for member in self.document["members"]
        )
        return (
            f"<p>{escape(printable(self.text, 1000))}</p><table><thead><tr>"
            "<th>network</th><th>cosine with the reference</th>"
            f"<th>aligned</th></tr></thead><tbody>{rows}</tbody></table>"
        )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def match(
    catalog: Catalog,
    /,
    *,
    layers: Sequence[str] = (),
    draws: int = FEWEST_DRAWS,
    seed: int = 0,
    on_event: Observer | None = None,
) -> Match:
    """Align plain networks to the first of them, and compare; reads weights.

    Parameters
    ----------
    catalog
        From `scan`.
    layers
        Globs: of several networks in a checkpoint, only those of which one
        matches a layer.
    draws
        Populations drawn from each null, at least 20.
    seed
        Of the draws.
    on_event
        Told of each draw.

    Raises
    ------
    UsageError
        When no chain of plain layers is recognised, or fewer than two
        independent networks have the same.
    """
    document = match_networks(
        catalog.value,
        layers=layers,
        draws=draws,
        seed=seed,
        on_event=on_event,
    )
    return Match(document)
