"""``spectra report``: files to look at and to share."""

from pathlib import Path
from typing import Annotated, Any

import typer

import spectra
from spectra.cli import console, options
from spectra.cli.pushing import destination_of, pushed
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
    if "parquet" in names:
        from spectra.report.parquet import require_pyarrow

        require_pyarrow()
    return names


def command(
    run: options.RunFile,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="The folder to write to.")
    ],
    formats: FormatList = "html,json,csv,md",
    figures: Annotated[
        bool,
        typer.Option(
            "--figures",
            help="Figures for a paper besides, as SVG and PDF in"
            " OUT/figures/; needs pip install 'hf-spectra[figures]'.",
        ),
    ] = False,
    push_to_hub: options.PushToHub = None,
    private: options.Private = False,
    token: options.Token = None,
    json: options.Json = False,
) -> None:
    """Write report.html, report.json, CSV tables and report.md.

    Example: spectra report run.h5 -o report/
    Example: spectra report run.h5 -o report/ --figures
    Example: spectra report run.h5 -o report/ --push-to-hub ORG/NAME
    """
    chosen, to = formats_of(formats), destination_of(push_to_hub, private)
    report = spectra.OverlapReport.stored(spectra.load(run))
    # First, since they alone may lack a package: then nothing is written.
    drawn = report.figures(out / "figures") if figures else ()
    files = (*report.save(out, formats=chosen), *drawn)
    told: dict[str, Any] = {"files": [str(path) for path in files]}
    if not json:
        for path in files:
            console.say(str(path))
    if to is not None:
        told["pushed"] = pushed(report, files, to)
    if json:
        console.document(told)
