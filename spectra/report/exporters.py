"""Which files a report can be written as, and the writing of them."""

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from spectra.core.errors import UsageError
from spectra.report.card import markdown
from spectra.report.document import Report, json_text
from spectra.report.page import html
from spectra.report.parquet import (
    layers_parquet,
    models_parquet,
    pairs_parquet,
    require_pyarrow,
    trajectory_parquet,
)
from spectra.report.sheets import (
    layers_csv,
    models_csv,
    pairs_csv,
    trajectory_csv,
)
from spectra.store.atomic import replacing
from spectra.subspaces.result import PopulationFit

__all__ = ["EXPORTERS", "Exporter", "require", "write", "write_texts"]

Chunks = Iterable[str] | Iterable[bytes]


@dataclass(frozen=True, slots=True)
class Exporter:
    """One format: the files it consists of, and how they are made.

    Attributes
    ----------
    files
        File names, in the order in which `render` returns their content.
    render
        Gives one iterable of pieces for each file: text, or bytes.
    """

    name: str
    files: tuple[str, ...]
    render: Callable[[Report, PopulationFit], tuple[Chunks, ...]]


EXPORTERS = (
    Exporter("html", ("report.html",), lambda r, f: ([html(r, f)],)),
    Exporter("json", ("report.json",), lambda r, _: ([json_text(r)],)),
    Exporter(
        "csv",
        ("layers.csv", "models.csv", "pairs.csv"),
        lambda r, f: (layers_csv(r), models_csv(r), pairs_csv(f)),
    ),
    Exporter("md", ("report.md",), lambda r, _: ([markdown(r)],)),
    Exporter(
        "parquet",
        ("layers.parquet", "models.parquet", "pairs.parquet"),
        lambda r, f: (layers_parquet(r), models_parquet(r), pairs_parquet(f)),
    ),
)

_ORDERED = (
    Exporter("csv", ("trajectory.csv",), lambda r, _: (trajectory_csv(r),)),
    Exporter(
        "parquet",
        ("trajectory.parquet",),
        lambda r, _: (trajectory_parquet(r),),
    ),
)
"""Besides, of checkpoints that are in order."""


def write(
    report: Report,
    fit: PopulationFit,
    folder: Path,
    /,
    *,
    formats: Sequence[str],
) -> tuple[Path, ...]:
    """Write the report in each of `formats` and return the files' paths.

    Parameters
    ----------
    report
        The report document, schema ``spectra-report/1``.
    fit
        What `report` was made from; it holds the matrices of pairs.
    folder
        Made where it does not exist.
    formats
        Names of `EXPORTERS`.

    Raises
    ------
    UsageError
        As for `require`; nothing was written.
    StorageError
        The disk refused; files that were there before are as they were.
    """
    chosen = require(formats)
    if "trajectory" in report:
        chosen += tuple(each for each in _ORDERED if each.name in formats)
    return write_texts(
        folder,
        (
            file
            for exporter in chosen
            for file in zip(
                exporter.files, exporter.render(report, fit), strict=True
            )
        ),
    )


def write_texts(
    folder: Path, files: Iterable[tuple[str, Chunks]], /
) -> tuple[Path, ...]:
    """Write all files, or none, and return their paths.

    Parameters
    ----------
    folder
        Made where it does not exist.
    files
        Names and pieces, text or bytes. The last one takes its name first.

    Raises
    ------
    StorageError
        The disk refused; files that were there before are as they were.
    """
    paths = []
    with ExitStack() as until_all_are_written:
        for name, text in files:
            path = folder / name
            draft = until_all_are_written.enter_context(replacing(path))
            _write(draft, text)
            paths.append(path)
    return tuple(paths)


def require(formats: Sequence[str], /) -> tuple[Exporter, ...]:
    """Return the exporters of formats, each once.

    Raises
    ------
    UsageError
        E_FORMAT where one is not known, E_EXTRA where its package is missing.
    """
    known = {exporter.name: exporter for exporter in EXPORTERS}
    unknown = [name for name in formats if name not in known]
    if unknown:
        raise UsageError(
            "E_FORMAT",
            f"no such report format: {', '.join(unknown)}",
            advice=f"choose from {', '.join(known)}",
        )
    if "parquet" in formats:
        require_pyarrow()
    return tuple(known[name] for name in dict.fromkeys(formats))


def _write(path: Path, pieces: Chunks) -> None:
    with path.open("wb") as file:
        for piece in pieces:
            file.write(piece.encode() if isinstance(piece, str) else piece)
        file.flush()
        # A full disk may tell only now: before any file is replaced.
        os.fsync(file.fileno())
