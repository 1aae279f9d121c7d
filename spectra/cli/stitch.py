"""``spectra stitch``: maps from one model's representations to another's."""

from pathlib import Path
from typing import Annotated, Any

import typer

import spectra
from spectra.cli import console, options

__all__ = ["command"]


def command(
    a: Annotated[
        str,
        typer.Argument(
            metavar="A",
            help="A file of features, or a checkpoint, as of align.",
            show_default=False,
        ),
    ],
    b: Annotated[
        str,
        typer.Argument(
            metavar="B", help="Another of the same items.", show_default=False
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="Write the best map to this file, of safetensors.",
            show_default=False,
        ),
    ] = None,
    kind: Annotated[
        list[str],
        typer.Option(
            "--kind",
            metavar="NAME",
            help="linear, affine or orthogonal; may be repeated. All where"
            " none is named.",
        ),
    ] = [],
    folds: Annotated[
        int,
        typer.Option(
            "--folds", min=2, help="Parts of the items, each judged in turn."
        ),
    ] = 5,
    draws: Annotated[
        int,
        typer.Option("--draws", min=19, help="Permutations of the items."),
    ] = 99,
    seed: options.Seed = 0,
    token: options.Token = None,
    cap: options.Cap = [],
    json: options.Json = False,
) -> None:
    """Map one model's representations to another's; judge it on other items.

    Of files with several layers the best two are taken, and with permuted
    items too: every value stands beside its own null.

    Example: spectra stitch a.npy b.npy -o map.safetensors
    """
    with console.observer("stitching") as watch:
        found = spectra.stitch(
            a, b, out, kind=kind, folds=folds, draws=draws, seed=seed,
            on_event=watch,
        )  # fmt: skip
    if json:
        console.document(found.document)
    else:
        _show(found.document)


def _show(found: dict[str, Any]) -> None:
    several = any(len(model["layers"]) > 1 for model in found["models"])
    console.table(
        ("kind", *(["layers"] if several else []), "R2", "permuted", "p",
         "found again", "by chance"),
        [_row(row, several) for row in found["maps"]],
        left=2 if several else 1,
    )  # fmt: skip
    console.say(found["text"])
    if found["out"] is not None:
        console.say(f"wrote {found['out']}")


def _row(row: dict[str, Any], several: bool) -> tuple[str, ...]:
    layers = (f"{row['layer_a']}, {row['layer_b']}",) if several else ()
    keys = ("r2", "null_mean", "p", "found_again", "chance")
    return (row["kind"], *layers, *(console.number(row[key]) for key in keys))
