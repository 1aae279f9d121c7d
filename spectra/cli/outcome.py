"""How a command that met bad checkpoints ends."""

from collections.abc import Sequence
from typing import Any

import typer

from spectra.cli.console import quarantined
from spectra.core.catalog import Quarantined

__all__ = ["finish", "set_aside"]

_QUARANTINE = 3


def finish(
    records: Sequence[Quarantined], kept: int, forgiven: bool, /
) -> None:
    """Tell what was set aside, and exit with 3 unless that was forgiven."""
    quarantined(records, kept=kept)
    if records and not forgiven:
        raise typer.Exit(_QUARANTINE)


def set_aside(document: dict[str, Any], /) -> tuple[Quarantined, ...]:
    """Return what a document tells to have been set aside."""
    return tuple(Quarantined(**entry) for entry in document["quarantine"])
