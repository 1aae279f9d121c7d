"""What the commands have in common at the terminal."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from spectra.core.text import printable

if TYPE_CHECKING:
    from spectra.core.catalog import Quarantined
    from spectra.core.events import Observer
    from spectra.core.events import Progress as Event

__all__ = [
    "be_quiet",
    "document",
    "flush",
    "layer_column",
    "note",
    "number",
    "observer",
    "problem",
    "quarantined",
    "say",
    "table",
    "traceback",
]

_UNBOUNDED = 10_000
"""Width of a table that goes to a file: nothing is cut there."""

_LINE = 400
"""Longest line about a problem, so that logs and terminals keep it whole."""

_TAKEN = 24
"""Columns of a progress line that its bar, time left and spaces take."""

_STAGES = {"fetch": "fetching"}
"""What a stage is called where its command is at something else."""

_QUIET: list[bool] = []
"""Holds something once `--quiet` was given."""


def be_quiet(wanted: bool) -> None:
    """Draw no progress from now on, and print on stdout only documents."""
    _QUIET[:] = [wanted] if wanted else []


def problem(code: str, what: str) -> None:
    """Print one line about a problem on stderr, if somebody reads that."""
    try:
        print(printable(f"spectra: {code}: {what}", _LINE), file=sys.stderr)
    except OSError:
        _silence(sys.stderr)


def note(what: str) -> None:
    """Print one line on stderr, if somebody reads that."""
    try:
        print(printable(f"spectra: {what}", sys.maxsize), file=sys.stderr)
    except OSError:
        _silence(sys.stderr)


@contextmanager
def _to_stdout() -> Iterator[None]:
    """End quietly when whoever read stdout (head, less) has gone.

    Raises
    ------
    StorageError
        Where stdout is a file that cannot be written.
    """
    try:
        yield
    except BrokenPipeError:
        _silence(sys.stdout)
        raise SystemExit(0) from None
    except OSError:
        _silence(sys.stdout)
        from spectra.store.atomic import refusing

        with refusing(Path("standard output")):
            raise


def _silence(stream: TextIO) -> None:
    """Let what Python flushes once more when it ends go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def flush() -> None:
    """Write out what was printed on stdout; it may be closed."""
    if sys.stdout is not None:
        with _to_stdout():
            sys.stdout.flush()


def traceback() -> None:
    """Print where the error that is being handled came from, on stderr."""
    from rich.console import Console
    from rich.traceback import Traceback

    Console(stderr=True, highlight=False, soft_wrap=True).print(Traceback())


def say(text: str = "") -> None:
    """Print a line of plain text on stdout; foreign text may be in it."""
    if not _QUIET:
        _write(printable(text, sys.maxsize))


def _write(text: str) -> None:
    with _to_stdout():
        print(text)


def document(value: Any) -> None:
    """Print one JSON document on stdout."""
    import json

    # In ASCII: there is nothing in it that steers a terminal.
    _write(json.dumps(value, sort_keys=True, allow_nan=False, indent=1))


def number(value: Any, digits: int = 3) -> str:
    """Return a number for a table, a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1
) -> None:
    """Print a table on stdout; the first `left` columns are words.

    On a terminal the first column gives way until the table fits; the middle
    of its longest values goes, since layers differ at both ends. Where that is
    not enough the other columns stand below one another, some at a time.
    """
    if _QUIET:
        return
    from rich.console import Console
    from rich.table import Table

    cells = [[printable(cell, 1000) for cell in row] for row in rows]
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, width=_UNBOUNDED)
    firsts, *others = zip(columns, *cells, strict=True)
    widths = [max(map(len, column)) + 2 for column in others]
    room = min(max(map(len, firsts)), max(console.width - sum(widths), 20))
    names = [printable(first, room) for first in firsts]
    with _to_stdout():
        for block in _blocks(widths, console.width - room):
            shown = Table(box=None, pad_edge=False, header_style="bold")
            shown.add_column(names[0])
            for i in block:
                words = i + 1 < left
                shown.add_column(
                    others[i][0], justify="left" if words else "right"
                )
            own = zip(names, *(others[i] for i in block), strict=True)
            for row in list(own)[1:]:
                shown.add_row(*row)
            console.print(shown, no_wrap=True)


def _blocks(widths: Sequence[int], room: int) -> list[list[int]]:
    """Return which columns stand side by side, as many as there is room for.

    Examples
    --------
    >>> _blocks([8, 8, 8], 20)
    [[0, 1], [2]]
    """
    blocks: list[list[int]] = [[]]
    for i, width in enumerate(widths):
        taken = sum(widths[j] for j in blocks[-1])
        if blocks[-1] and taken + width > room:
            blocks.append([])
        blocks[-1].append(i)
    return blocks


def layer_column(names: Sequence[str]) -> tuple[str, list[str]]:
    """Return a column of layers: its title, and names without what all share.

    Examples
    --------
    >>> layer_column(["h.0.attn.q", "h.0.attn.v"])
    ('layer h.0.attn.*', ['q', 'v'])
    """
    parts = zip(*(name.split(".")[:-1] for name in names), strict=False)
    alike = takewhile(lambda part: len(set(part)) == 1, parts)
    shared = "".join(f"{part[0]}." for part in alike) if names[1:] else ""
    title = f"layer {shared}*" if shared else "layer"
    return title, [name.removeprefix(shared) for name in names]


def quarantined(records: "Sequence[Quarantined]", *, kept: int) -> None:
    """Print one line on stderr for each thing that was set aside."""
    total = kept + len({q.id for q in records if q.layer is None})
    for record in records:
        where = record.id + (f", layer {record.layer}" if record.layer else "")
        problem(
            record.code,
            f"{record.detail}, in {where}; kept {kept}/{total};"
            " see docs/codes.md",
        )


@contextmanager
def observer(title: str) -> "Iterator[Observer | None]":
    """Give an observer that draws a bar on stderr; None off a terminal.

    Where bytes are known they make the bar, its rate and the time left; units
    are counted beside them.
    """
    from rich.console import Console

    stderr = Console(stderr=True, highlight=False, soft_wrap=True)
    if _QUIET or not stderr.is_terminal:
        yield None
        return
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=12),
        TextColumn("{task.fields[counted]}", markup=False),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[subject]}", markup=False),
        console=stderr,
        transient=True,
    )
    with bar:
        task = bar.add_task(title, total=None, counted="", subject="")

        def draw(event: "Event") -> None:
            known = event.nbytes_total > 0
            counted = _counted(event, bar.tasks[0].speed)
            room = stderr.width - _TAKEN - len(title) - len(counted)
            bar.update(
                task,
                description=_STAGES.get(event.stage, title),
                total=event.nbytes_total if known else event.total,
                completed=event.nbytes_done if known else event.done,
                counted=counted,
                subject=printable(event.subject, room) if room > 7 else "",
            )

        yield draw


def _counted(event: "Event", speed: float | None) -> str:
    """Return how much is done, and of bytes how many a second."""
    units = f"{event.done}/{event.total}"
    if not event.nbytes_total:
        return units
    from rich.filesize import decimal

    read, of = decimal(event.nbytes_done), decimal(event.nbytes_total)
    rate = "" if speed is None else f", {decimal(int(speed))}/s"
    return f"{units}, {read} of {of}{rate}"
