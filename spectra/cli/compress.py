"""``spectra compress``: a population as what its members share."""

from pathlib import Path
from typing import Annotated, Any

import typer

import spectra
from spectra.cli import console, options

__all__ = ["command"]


def command(
    run: options.RunFile,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="The folder to write.")
    ],
    scheme: Annotated[
        str,
        typer.Option(
            "--scheme",
            help="model-axis; of adapters jd-full or jd-diag, bases of both"
            " sides and a small matrix a member.",
        ),
    ] = "model-axis",
    k: Annotated[
        int | None,
        typer.Option(
            "-k",
            min=1,
            help="Directions of every layer, or the rank of its bases; 16"
            " unless given.",
        ),
    ] = None,
    energy: Annotated[
        float | None,
        typer.Option(
            "--energy",
            help="In place of -k: of each layer as few directions as keep"
            " this share of the squared deviations, such as 0.9.",
        ),
    ] = None,
    clusters: Annotated[
        int,
        typer.Option(
            "--clusters",
            min=1,
            help="Groups of members with bases of their own in each layer, of"
            " jd-full and jd-diag.",
        ),
    ] = 1,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Of the groups' start.")
    ] = 0,
    layers: Annotated[
        list[str],
        typer.Option("--layers", metavar="GLOB", help="Only these layers."),
    ] = [],
    memory: options.Memory = "4GiB",
    token: options.Token = None,
    cap: options.Cap = [],
    json: options.Json = False,
) -> None:
    """Keep a population as what its members share and numbers of each one.

    The errors are shares of the squared deviations from the mean that are
    lost, of jd-full and jd-diag of the squared norms: of the members
    themselves, and of lineage groups that were held out.

    Example: spectra compress run.h5 -o compressed/ --energy 0.9
    """
    with console.observer("compressing") as watch:
        found = spectra.compress(
            spectra.load(run), out, scheme=scheme, k=k, energy=energy,
            clusters=clusters, seed=seed, layers=layers, memory=memory,
            on_event=watch,
        )  # fmt: skip
    if json:
        console.document(found.document)
        return
    console.table(
        ("layer", "k", "members", "error", "held out"),
        [_row(layer) for layer in found.layers],
    )
    missed = [row for row in found.layers if row.get("reached") is False]
    if missed:
        console.say(
            f"{len(missed)} layers do not reach --energy {energy}: the other"
            " directions are below the resolution of the run"
        )
    console.say(found.text)


def _row(layer: dict[str, Any]) -> tuple[str, ...]:
    return (
        layer["name"],
        str(layer["k"]),
        str(layer["n_models"]),
        console.number(layer["error_in_sample"]),
        console.number(layer["error_held_out"]),
    )
