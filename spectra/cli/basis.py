"""``spectra basis``: the shared subspace itself, as a file."""

from pathlib import Path
from typing import Annotated, Literal

import typer

import spectra
from spectra.cli import console, options

__all__ = ["command"]


def command(
    run: options.RunFile,
    out: Annotated[
        Path,
        typer.Option("-o", "--out", help="The safetensors file to write."),
    ],
    k: Annotated[
        int, typer.Option("-k", min=1, help="Directions a layer.")
    ] = 16,
    axis: Annotated[
        Literal["model", "output", "input"],
        typer.Option("--axis", help="Which subspace."),
    ] = "model",
    layers: Annotated[
        list[str],
        typer.Option("--layers", metavar="GLOB", help="Only these layers."),
    ] = [],
    json: options.Json = False,
) -> None:
    """Export mean and orthonormal basis of each layer; streams the weights.

    Example: spectra basis run.h5 -o basis.safetensors -k 4
    """
    from spectra.study.basis import write_basis

    with console.observer("writing") as watch:
        basis = write_basis(
            spectra.load(run).value, out, k=k, axis=axis,
            layers=tuple(layers), on_event=watch,
        )  # fmt: skip
    if json:
        console.document(
            {
                "basis": str(basis.path),
                "axis": basis.axis,
                "layers": list(basis.layers),
                "bytes": basis.nbytes,
            }
        )
        return
    console.say(
        f"{len(basis.layers)} layers, {basis.nbytes / 2**20:.1f} MiB -> {out}"
    )
