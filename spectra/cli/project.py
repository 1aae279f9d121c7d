"""``spectra project``: a checkpoint that was not in the fit."""

from typing import Annotated, Any

import typer

import spectra
from spectra.cli import console, options
from spectra.cli.outcome import finish, set_aside

__all__ = ["command"]


def command(
    run: options.RunFile,
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A checkpoint folder, a .safetensors file, or ORG/NAME[@REV]"
            " of a hub.",
        ),
    ],
    k: options.Levels = [],
    layers: options.Layers = [],
    memory: options.Memory = "4GiB",
    workers: options.Workers = 0,
    token: options.Token = None,
    cap: options.Cap = [],
    json: options.Json = False,
    quarantine_ok: options.QuarantineOk = False,
) -> None:
    """Show where a checkpoint lies that was not in the fit.

    The members of the run are read once more. What their directions hold of
    the checkpoint stands beside what random directions of their span hold,
    and what the others hold of a member held out with its lineage (median).

    Example: spectra project run.h5 new-adapter/ -k 4
    """
    with console.observer("projecting") as watch:
        found = spectra.project(
            spectra.load(run), model, k=k, layers=layers, memory=memory,
            workers=workers, on_event=watch,
        )  # fmt: skip
    if json:
        console.document(found.document)
    else:
        _show(found)
    finish(set_aside(found.document), len(found.layers), quarantine_ok)


def _show(found: "spectra.Projection") -> None:
    if found.layers:
        title, names = console.layer_column([x["name"] for x in found.layers])
        console.table(
            (title, f"captured k={found.k}", "random", "secondary",
             "members", "mean", "cosine", "nearest"),
            [
                (name, *_row(layer, str(found.k)))
                for name, layer in zip(names, found.layers, strict=True)
            ],
        )  # fmt: skip
    document = found.document
    for key, where in (("only_in_run", "run"), ("only_in_model", "model")):
        if document[key]:
            console.say(f"only in the {where}: {len(document[key])} layers")
    console.say(found.text)


def _row(layer: dict[str, Any], k: str) -> tuple[str, ...]:
    members = layer["members"] and layer["members"]["captured"][k]
    first = layer["nearest"][0] if layer["nearest"] else None
    return (
        console.number(layer["captured"][k]),
        console.number(layer["captured_random"][k]),
        console.number(layer["captured_secondary"][k]),
        console.number(members and members["median"]),
        console.number(layer["r2_mean"]),
        console.number(first and first["cosine"]),
        first["id"] if first else "-",
    )
