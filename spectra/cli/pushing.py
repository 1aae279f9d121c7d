"""``--push-to-hub``: where to, known before all else, and the pushing."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from spectra.cli import console
from spectra.core.errors import UsageError

if TYPE_CHECKING:
    from spectra.api.overlap import OverlapReport
    from spectra.hub.push import Destination

__all__ = ["destination_of", "pushed"]


def destination_of(repo: str | None, private: bool, /) -> "Destination | None":
    """Return where to push to, None where nothing is to be pushed."""
    if repo is None:
        if private:
            raise UsageError(
                "E_PUSH",
                "--private is for a repository, and none is named",
                advice="add --push-to-hub ORG/NAME",
            )
        return None
    from spectra.hub.push import destination

    return destination(repo, private=private)


def pushed(
    report: "OverlapReport", files: Sequence[Path], to: "Destination", /
) -> str:
    """Push, with a line on stderr before and after; return the address."""
    from spectra.api.publishing import publish

    address = publish(
        report.document, report.run, files, to, tell=console.note
    )
    console.note(f"pushed: {address}")
    return address
