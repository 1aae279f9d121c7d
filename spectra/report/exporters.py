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
from spectra.report.sheets import (
    layers_csv,
    models_csv,
    pairs_csv,
    trajectory_csv,
)
from spectra.store.atomic import replacing
from spectra.subspaces.result import PopulationFit

__all__ = ["EXPORTERS", "Exporter", "write"]

Chunks = Iterable[str]


@dataclass(frozen=True, slots=True)
class Exporter:
    """One format: the files it consists of, and how their text is made.

    Attributes
    ----------
    files
        File names, in the order in which `render` returns their text.
    render
        Gives one iterable of pieces of text for each file.
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
)

_ORDERED = Exporter(
    "csv", ("trajectory.csv",), lambda r, _: (trajectory_csv(r),)
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
        A format is not known; nothing was written.
    StorageError
        The disk refused; files that were there before are as they were.
    """
    chosen = _chosen(formats)
    if "trajectory" in report and "csv" in formats:
        chosen = (*chosen, _ORDERED)
    paths = []
    with ExitStack() as until_all_are_written:
        for exporter in chosen:
            texts = exporter.render(report, fit)
            for name, text in zip(exporter.files, texts, strict=True):
                path = folder / name
                draft = until_all_are_written.enter_context(replacing(path))
                _write(draft, text)
                paths.append(path)
    return tuple(paths)


def _write(path: Path, text: Chunks) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(text)
        file.flush()
        # A full disk may tell only now: before any file is replaced.
        os.fsync(file.fileno())


def _chosen(formats: Sequence[str]) -> tuple[Exporter, ...]:
    known = {exporter.name: exporter for exporter in EXPORTERS}
    unknown = [name for name in formats if name not in known]
    if unknown:
        raise UsageError(
            "E_FORMAT",
            f"no such report format: {', '.join(unknown)}",
            advice=f"choose from {', '.join(known)}",
        )
    return tuple(known[name] for name in dict.fromkeys(formats))
