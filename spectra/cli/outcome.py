"""How a command that met bad checkpoints ends."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from spectra.cli.console import quarantined

if TYPE_CHECKING:
    from spectra.core.catalog import Quarantined

__all__ = ["finish"]

_QUARANTINE = 3


def finish(
    records: "Sequence[Quarantined]", kept: int, forgiven: bool, /
) -> None:
    """Tell what was set aside, and exit with 3 unless that was forgiven."""
    quarantined(records, kept=kept)
    if records and not forgiven:
        raise typer.Exit(_QUARANTINE)
