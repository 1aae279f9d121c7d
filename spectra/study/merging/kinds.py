"""Which way a catalogue is merged: as adapters, or as full checkpoints."""

from pathlib import Path
from typing import Any

from spectra.core.catalog import Catalog
from spectra.core.errors import UsageError
from spectra.core.events import Observer
from spectra.core.text import printable
from spectra.study.merging.adapters import merge_adapters
from spectra.study.merging.asked import Wanted
from spectra.study.merging.full import merge_full
from spectra.study.merging.full_parents import is_full

__all__ = ["merge_catalog"]


def merge_catalog(
    catalog: Catalog,
    folder: Path,
    wanted: Wanted,
    /,
    *,
    on_event: Observer | None = None,
) -> dict[str, Any]:
    """Merge what a catalogue holds; as of `merge_adapters`, `merge_full`.

    Parameters
    ----------
    catalog
        Adapters alone, or full checkpoints alone.
    folder, wanted, on_event
        As of both.

    Raises
    ------
    UsageError
        E_MERGE for both together; E_METHOD for what is asked of the others
        alone.
    """
    full = [model for model in catalog.models if is_full(model)]
    others = [model for model in catalog.models if model not in full]
    if full and others:
        raise UsageError(
            "E_MERGE",
            f"{printable(full[0].id)} holds full weights, and"
            f" {printable(others[0].id)} updates",
            advice="merge the ones or the others",
        )
    if full:
        return merge_full(catalog, folder, wanted, on_event=on_event)
    _require_of_adapters(wanted)
    return merge_adapters(catalog, folder, wanted, on_event=on_event)


def _require_of_adapters(wanted: Wanted) -> None:
    """Refuse what is asked of full weights alone."""
    asked = {"--base": wanted.base, "--shard-size": wanted.shard_size}
    given = [flag for flag, value in asked.items() if value is not None]
    if given:
        raise UsageError(
            "E_METHOD",
            f"{', '.join(given)} is of full weights, and these are adapters:"
            " updates already, in one file",
            advice="leave it out",
        )
