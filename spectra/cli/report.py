"""``spectra report``: files to look at and to share."""

from pathlib import Path
from typing import Annotated

import typer

import spectra
from spectra.cli import console, options
from spectra.core.errors import UsageError
from spectra.study.studyfile import FORMATS

__all__ = ["FormatList", "command", "formats_of"]

FormatList = Annotated[
    str,
    typer.Option(
        "--format",
        help=f"Comma-separated: {', '.join(FORMATS)}",
    ),
]


def formats_of(text: str) -> tuple[str, ...]:
    """Return the formats named in a comma-separated list."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if name not in FORMATS:
            raise UsageError(
                "E_FORMAT",
                f"there is no report format {name!r}",
                advice=f"use {', '.join(FORMATS)}",
            )
    return names


def command(
    run: options.RunFile,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="The folder to write to.")
    ],
    formats: FormatList = "html,json,csv,md",
    json: options.Json = False,
) -> None:
    """Write report.html, report.json, CSV tables and report.md.

    Example: spectra report run.h5 -o report/
    """
    report = spectra.OverlapReport.stored(spectra.load(run))
    files = report.save(out, formats=formats_of(formats))
    if json:
        console.document({"files": [str(path) for path in files]})
        return
    for path in files:
        console.say(str(path))
