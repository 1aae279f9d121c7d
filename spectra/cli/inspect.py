"""``spectra inspect``: the spectra of one checkpoint."""

from collections import Counter
from typing import Annotated, Any

import typer

import spectra
from spectra.cli import console, options
from spectra.cli.outcome import finish, set_aside

__all__ = ["command"]

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A checkpoint folder, a .safetensors file or ORG/NAME[@REV].",
    ),
]


def command(
    model: Model,
    base: Annotated[
        str | None,
        typer.Option(
            "--base",
            metavar="REF",
            help="A checkpoint that is subtracted from full weights.",
        ),
    ] = None,
    layers: options.Layers = [],
    randomize: Annotated[
        bool,
        typer.Option(
            "--randomize",
            help="Compare each layer with its own entries in random order.",
        ),
    ] = False,
    seed: options.Seed = 0,
    memory: options.Memory = "4GiB",
    token: options.Token = None,
    cap: options.Cap = [],
    json: options.Json = False,
    quarantine_ok: options.QuarantineOk = False,
) -> None:
    """Show norms, ranks, spikes and power laws of one checkpoint's layers.

    Example: spectra inspect model/ --base base/
    """
    with console.observer("inspecting") as watch:
        found = spectra.inspect(
            model,
            base=base,
            layers=layers,
            randomize=randomize,
            seed=seed,
            memory=memory,
            on_event=watch,
        )
    if json:
        console.document(found.document)
    else:
        _show(found)
    finish(set_aside(found.document), len(found.layers), quarantine_ok)


def _show(found: "spectra.Inspection") -> None:
    beside = ("above rand", "distance") if "seed" in found.document else ()
    title, names = console.layer_column(
        [each["name"] for each in found.layers]
    )
    console.table(
        (title, "shape", "norm", "spectral", "stable", "effective", "spikes",
         "GD rank", "alpha", "D", *beside, "status"),
        [
            (name, *_row(layer))
            for name, layer in zip(names, found.layers, strict=True)
        ],
        left=2,
    )  # fmt: skip
    counts = Counter(
        row["reason"]
        for row in found.document["coverage"]
        if row["status"] != "analysed"
    )
    rest = ", ".join(f"{n} {reason}" for reason, n in sorted(counts.items()))
    total = len(found.document["coverage"])
    console.say(
        f"{total - counts.total()} of {total} tensors analysed"
        + (f"; {rest} (see docs/codes.md)" if rest else "")
    )


def _row(layer: dict[str, Any]) -> tuple[str, ...]:
    return (
        " x ".join(map(str, layer["shape"])),
        console.number(layer["norm"]),
        console.number(layer["spectral_norm"]),
        console.number(layer["stable_rank"], 1),
        console.number(layer["effective_rank"], 1),
        _count(layer["num_spikes"]),
        _count(layer["gavish_donoho_rank"]),
        console.number(layer["alpha"], 2),
        console.number(layer["D"]),
        *_beside(layer),
        layer["alpha_status"],
    )


def _beside(layer: dict[str, Any]) -> tuple[str, ...]:
    """Return what the same entries in random order show, where asked for."""
    if "num_above_rand" not in layer:
        return ()
    distance = console.number(layer["rand_distance"])
    return (_count(layer["num_above_rand"]), distance)


def _count(count: int | None) -> str:
    return "-" if count is None else str(count)
