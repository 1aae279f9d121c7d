"""``spectra cache``: what is kept of a hub, and how it is let go."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spectra.backend.memory import parse_bytes
from spectra.cli import console, options
from spectra.core.errors import UsageError
from spectra.core.places import cache_folder
from spectra.core.text import printable

if TYPE_CHECKING:
    from spectra.hub import shelf

__all__ = ["app", "ls", "prune", "verify"]

app = typer.Typer(
    help="List, prune or verify the files that were read from a hub.\n\n"
    "Example: spectra cache ls",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
_INTEGRITY = 7
_DAY = 86400


@app.command()
def ls(json: options.Json = False) -> None:
    """List the files in the cache, least recently used first.

    Example: spectra cache ls
    """
    from spectra.hub import shelf

    spool = _spool()
    found = shelf.entries(spool)
    nbytes = sum(entry.nbytes for entry in found)
    if json:
        files = [_row(entry) for entry in found]
        console.document(
            {"folder": str(spool), "files": files, "bytes": nbytes}
        )
        return
    if found:
        rows = [(_name(e), _mib(e.nbytes), _when(e), _state(e)) for e in found]
        console.table(("origin", "MiB", "last use", ""), rows)
    console.say(f"{len(found)} files, {_mib(nbytes)} MiB in {spool}")


@app.command()
def prune(
    older_than: Annotated[
        float | None,
        typer.Option(
            "--older-than",
            metavar="DAYS",
            min=0,
            help="Remove what was not used for so many days.",
        ),
    ] = None,
    to: Annotated[
        Any,
        typer.Option(
            "--to",
            metavar="SIZE",
            parser=parse_bytes,
            help="Remove until so much is left, such as 10GiB.",
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Remove all that is not in use.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Remove files from the cache, least recently used first.

    What another process is using stays. Nothing is lost for good: a file that
    is needed again is fetched again.

    Example: spectra cache prune --older-than 30 --to 10GiB
    """
    from spectra.hub import shelf

    if older_than is None and to is None and not everything:
        raise UsageError(
            "E_PRUNE",
            "nothing says what to remove",
            advice="give --older-than DAYS, --to SIZE, or --all",
        )
    done = shelf.prune(
        _spool(),
        older_than=None if older_than is None else older_than * _DAY,
        to=0 if everything else to,
    )
    freed = sum(entry.nbytes for entry in done.removed)
    if json:
        console.document(
            {
                "freed": freed,
                "removed": [_row(entry) for entry in done.removed],
                "held": [_row(entry) for entry in done.held],
                "bytes": done.left,
            }
        )
        return
    for entry in done.removed:
        console.say(f"removed {_name(entry)}")
    for entry in done.held:
        console.say(f"in use: {_name(entry)}")
    console.say(f"freed {_mib(freed)} MiB; {_mib(done.left)} MiB are left")


@app.command()
def verify(
    repair: Annotated[
        bool, typer.Option("--repair", help="Remove what is damaged.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Hash every file in the cache again; exit with 7 where one is damaged.

    Example: spectra cache verify --repair
    """
    from spectra.hub import shelf

    spool = _spool()
    with console.observer("verifying") as watch:
        report = shelf.verify(spool, repair=repair, on_event=watch)
    for damage in report.damaged:
        console.problem("E_DAMAGED", _complaint(damage, repair))
    if json:
        rows = [_row(d.entry) | {"what": d.what} for d in report.damaged]
        console.document(
            {"files": report.n_files, "damaged": rows, "repaired": repair}
        )
    else:
        console.say(f"{report.n_files} files, {len(report.damaged)} damaged")
    if report.damaged:
        raise typer.Exit(_INTEGRITY)


def _spool() -> Path:
    return cache_folder() / "spool"


def _row(entry: "shelf.Entry") -> dict[str, Any]:
    return {
        "path": str(entry.folder),
        "origin": entry.origin,
        "bytes": entry.nbytes,
        "used": datetime.fromtimestamp(entry.used, UTC).isoformat(),
        "whole": entry.whole,
    }


def _name(entry: "shelf.Entry") -> str:
    return printable(entry.origin or entry.folder.name)


def _mib(nbytes: int) -> str:
    return f"{nbytes / 2**20:.1f}"


def _when(entry: "shelf.Entry") -> str:
    return (
        datetime.fromtimestamp(entry.used)
        .astimezone()
        .isoformat(" ", "minutes")
    )


def _state(entry: "shelf.Entry") -> str:
    return "" if entry.whole else "unfinished"


def _complaint(damage: "shelf.Damage", repaired: bool) -> str:
    next_step = (
        "removed; it is fetched again when it is needed"
        if repaired
        else "remove it with: spectra cache verify --repair"
    )
    entry = damage.entry
    return f"{_name(entry)} in {entry.folder} {damage.what}; {next_step}"
