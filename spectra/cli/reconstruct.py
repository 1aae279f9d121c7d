"""``spectra reconstruct``: a member of a compressed population again."""

from pathlib import Path
from typing import Annotated

import typer

import spectra
from spectra.cli import console, options

__all__ = ["command"]


def command(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="A folder written by compress."),
    ],
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A member's id, or the last part of it."
        ),
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="The folder to write.")
    ],
    memory: options.Memory = "4GiB",
    token: options.Token = None,
    cap: options.Cap = [],
    json: options.Json = False,
) -> None:
    """Write a member of a compressed population as a checkpoint.

    Example: spectra reconstruct compressed/ adapter-7 -o adapter-7/
    """
    with console.observer("reconstructing") as watch:
        found = spectra.reconstruct(
            folder, model, out, memory=memory, on_event=watch
        )
    if json:
        console.document(found.document)
    else:
        console.say(found.text)
