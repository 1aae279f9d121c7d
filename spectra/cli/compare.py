"""``spectra compare``: two populations against each other."""

from pathlib import Path
from typing import Annotated, Any

import typer

import spectra
from spectra.cli import console, options
from spectra.cli.outcome import finish, set_aside
from spectra.core.settings import OverlapSettings

__all__ = ["command"]


def command(
    context: typer.Context,
    a: Annotated[
        Path, typer.Argument(metavar="A.H5", help="A run file made by fit.")
    ],
    b: Annotated[Path, typer.Argument(metavar="B.H5", help="Another one.")],
    k: options.Levels = [],
    draws: options.Draws = 199,
    seed: options.Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="Keep both populations as one run file: comparing them again"
            " reads no weights.",
        ),
    ] = None,
    json: options.Json = False,
    quarantine_ok: options.QuarantineOk = False,
) -> None:
    """Compare the subspaces of two populations; reads their weights again.

    A->B is how much more A's directions hold of B's deviations than random
    ones do, the lower end of its 95 % interval; p is low where the two are
    less alike than random divisions of all members.

    Example: spectra compare A.h5 B.h5 -o both.h5
    """
    with console.observer("comparing") as watch:
        found = spectra.compare(
            spectra.load(a),
            spectra.load(b),
            out=out,
            on_event=watch,
            **options.chosen(OverlapSettings, context),
        )
    if json:
        console.document(found.document)
    else:
        _show(found)
    lost = set_aside(found.document)
    finish(lost, len(found.run.models), quarantine_ok)


def _show(found: "spectra.Comparison") -> None:
    in_both = found.document["populations"]["in_both"]
    if in_both:
        console.say(
            f"{len(in_both)} checkpoints are in both runs and count in the"
            " first alone"
        )
    console.table(
        ("layer", "verdict", "k", "overlap", "chance", "A->B", "B->A", "p"),
        [_row(layer) for layer in found.layers],
        left=2,
    )
    console.say(found.verdict)


def _row(layer: dict[str, Any]) -> tuple[str, ...]:
    if layer["k"] is None:
        return (layer["name"], layer["verdict"], *["-"] * 6)
    k = str(layer["k"])
    return (
        layer["name"],
        layer["verdict"],
        k,
        console.number(layer["overlap"]["value"][k]),
        console.number(layer["overlap"]["chance"][k]),
        console.number(layer["a_to_b"]["effect"][k]["low"]),
        console.number(layer["b_to_a"]["effect"][k]["low"]),
        console.number(layer["p"]),
    )
