"""``spectra match``: networks compared after their units were aligned."""

from typing import Annotated, Any

import typer

import spectra
from spectra.cli import console, options
from spectra.cli.outcome import finish, set_aside

__all__ = ["command"]


def command(
    sources: options.Sources = [],
    layers: options.Layers = [],
    draws: Annotated[
        int, typer.Option("--draws", min=20, help="Draws from each null.")
    ] = 20,
    seed: options.Seed = 0,
    json: options.Json = False,
    quarantine_ok: options.QuarantineOk = False,
) -> None:
    """Align networks trained from different starts, and compare them.

    Hidden units of plain networks may stand in any order: each network's are
    put in the order of the first one's (weight matching), which makes even
    random networks alike. So aligned cosines stand beside those of the same
    weights scattered over the units, and of random mixtures of the units.

    Example: spectra match networks/ --draws 99
    """
    catalog = spectra.scan(*sources)
    with console.observer("aligning") as watch:
        found = spectra.match(
            catalog, layers=layers, draws=draws, seed=seed, on_event=watch
        )
    if json:
        console.document(found.document)
    else:
        _show(found)
    aside = set_aside(found.document)
    finish(aside, len(found.document["members"]), quarantine_ok)


def _show(found: "spectra.Match") -> None:
    whole = {"name": "all layers", **found.document["network"]}
    console.table(
        ("layer", "unaligned", "aligned", "entries", "p", "rotated", "p"),
        [_row(layer) for layer in (*found.layers, whole)],
    )
    for entry in found.document["left_out"]:
        console.say(f"left out: {entry['id']} {entry['reason']}")
    console.say(found.text)


def _row(layer: dict[str, Any]) -> tuple[str, ...]:
    """Return a layer's mean cosines: among the others, where there are two."""
    row = layer["cosine"] or layer["cosine_to_reference"]
    if row is None:
        return (layer["name"], *["-"] * 6)
    nulls = [row["null"][name] for name in ("entries", "rotated")]
    numbers = [row["unaligned"], row["aligned"]]
    numbers += [null[key] for null in nulls for key in ("mean", "p")]
    return (layer["name"], *map(console.number, numbers))
