"""``spectra units``: units of two models that answer to items alike."""

from typing import Annotated, Any

import typer

import spectra
from spectra.cli import console, options

__all__ = ["command"]

_MOST = 20


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
    draws: Annotated[
        int,
        typer.Option("--draws", min=19, help="Permutations of the items."),
    ] = 99,
    seed: options.Seed = 0,
    token: options.Token = None,
    cap: options.Cap = [],
    json: options.Json = False,
) -> None:
    """Find units of two models that answer to the same items alike.

    Two units are a pair where each is the other's nearest by correlation, and
    nearer than permuted items make any.

    Example: spectra units a.h5 b.h5
    """
    with console.observer("matching") as watch:
        found = spectra.units(a, b, draws=draws, seed=seed, on_event=watch)
    if json:
        console.document(found.document)
    else:
        _show(found.document)


def _show(found: dict[str, Any]) -> None:
    layers = sorted(found["layers"], key=lambda row: -row["n_rosetta"])
    console.table(
        ("layer of a", "layer of b", "units", "mutual", "alike", "highest r"),
        [
            (
                row["layer_a"], row["layer_b"],
                f"{row['width_a']}, {row['width_b']}", str(row["n_mutual"]),
                str(row["n_rosetta"]), console.number(row["highest"]),
            )
            for row in layers[:_MOST]
        ],
        left=2,
    )  # fmt: skip
    if len(layers) > _MOST:
        console.say(f"and {len(layers) - _MOST} pairs of layers more (--json)")
    console.say(found["text"])
