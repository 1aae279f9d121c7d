"""``spectra diff``: two checkpoints, tensor by tensor."""

from typing import Annotated, Any

import typer

import spectra
from spectra.cli import console, options
from spectra.cli.outcome import finish, set_aside

__all__ = ["command"]


def command(
    a: Annotated[
        str, typer.Argument(metavar="A", help="A checkpoint: the start.")
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
    memory: options.Memory = "4GiB",
    token: options.Token = None,
    cap: options.Cap = [],
    json: options.Json = False,
    quarantine_ok: options.QuarantineOk = False,
) -> None:
    """Show what moved from one checkpoint to another, and in what rank.

    Example: spectra diff base/ tuned/
    """
    with console.observer("comparing") as watch:
        found = spectra.diff(a, b, memory=memory, on_event=watch)
    if json:
        console.document(found.document)
    else:
        _show(found)
    finish(set_aside(found.document), len(found.layers), quarantine_ok)


def _show(found: "spectra.Difference") -> None:
    moved = [layer for layer in found.layers if not layer["identical"]]
    if moved:
        console.table(
            ("tensor", "shape", "moved", "cosine", "effective rank"),
            [_row(layer) for layer in moved],
            left=2,
        )
    others = {
        row["tensor"]: row["reason"]
        for row in found.document["coverage"]
        if row["status"] == "skipped"
    }
    for name, reason in others.items():
        console.say(f"{reason}: {name}")
    console.say(found.text)


def _row(layer: dict[str, Any]) -> tuple[str, ...]:
    return (
        layer["name"],
        " x ".join(map(str, layer["shape"])),
        console.number(layer["relative_move"], 4),
        console.number(layer["cosine"], 4),
        console.number(layer["effective_rank"], 1),
    )
