"""A population as a user holds it."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spectra.core import catalog as core
from spectra.core.events import Observer
from spectra.core.settings import HubQuery
from spectra.core.text import printable
from spectra.study.scan import scan_sources
from spectra.weights.catalog_file import catalog_json, write_catalog
from spectra.weights.coverage import coverage

if TYPE_CHECKING:
    from spectra.study.plan import Plan

__all__ = ["Catalog", "scan"]


@dataclass(frozen=True, slots=True, repr=False)
class Catalog:
    """The checkpoints that `scan` found, from their headers alone.

    Attributes
    ----------
    value
        The catalogue itself: checkpoints, architectures, quarantine.
    """

    value: core.Catalog

    def __len__(self) -> int:
        """Return the number of checkpoints."""
        return len(self.value.models)

    def __repr__(self) -> str:
        """Return one line."""
        return (
            f"Catalog({len(self)} checkpoints,"
            f" {len(self.value.architectures)} architectures,"
            f" {len(self.value.quarantine)} in quarantine)"
        )

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(printable(a.id))}</td><td>{len(a.members)}</td>"
            f"<td>{len(a.layers)}</td></tr>"
            for a in self.value.architectures
        )
        return (
            f"<p>{escape(repr(self))}</p><table><thead><tr>"
            "<th>architecture</th><th>checkpoints</th><th>layers</th>"
            f"</tr></thead><tbody>{rows}</tbody></table>"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the document that ``spectra scan --json`` prints."""
        return catalog_json(self.value)

    def coverage(self) -> list[dict[str, Any]]:
        """Return what became of every tensor, one row each.

        The rows have ``id``, ``tensor``, ``status`` (``analysed``, ``skipped``
        or ``refused``) and ``reason``, and make a table as they are:
        ``pandas.DataFrame(catalog.coverage())``.
        """
        return coverage(self.value)

    def plan(
        self, out: str | Path | None = None, /, **settings: Any
    ) -> "Plan":
        """Return what `fit` would read and need, with the same arguments."""
        from spectra.study.grow import plan_into

        path = None if out is None else Path(out)
        return plan_into(self.value, settings, path)

    def save(self, path: str | Path, /) -> None:
        """Write ``catalog.jsonl``, which every command takes as a SOURCE."""
        write_catalog(self.value, Path(path))


def scan(
    *sources: str | Path,
    match: Sequence[str] = (),
    limit: int | None = None,
    on_event: Observer | None = None,
    **query: Any,
) -> Catalog:
    """Find checkpoints and read their headers; no tensor is read.

    Parameters
    ----------
    sources
        Folders of checkpoints, checkpoint folders, ``.safetensors`` files,
        ``org/name@revision`` or ``hf://org/name`` of a hub, ``@list.txt``
        files or catalogues.
    match
        Globs that ids must match.
    limit
        At most so many checkpoints.
    on_event
        Told after each checkpoint.
    query
        Fields of `HubQuery`, for repositories of a hub: author, search,
        filter, base_model, relation, num_parameters, sort, revision.

    Raises
    ------
    UsageError
        When a source does not exist.
    IncompleteError
        When the hub cannot be reached.
    """
    found = scan_sources(
        sources,
        HubQuery(**query),
        match=match,
        limit=limit,
        on_event=on_event,
    )
    return Catalog(found)
