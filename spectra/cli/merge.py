"""``spectra merge``: several adapters made into one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

import spectra
from spectra.cli import console, options
from spectra.cli.outcome import finish, set_aside
from spectra.core.errors import UsageError
from spectra.core.text import printable

__all__ = ["command"]

_MOST = 10


def command(
    out: Annotated[
        Path, typer.Option("-o", "--out", help="The folder to write.")
    ],
    method: Annotated[
        str,
        typer.Option(
            "--method",
            metavar="NAME",
            help="mean, weighted, task-arithmetic, ties, dare, knots, tsv-m,"
            " iso-c, iso-cts, cart or subspace; docs/merge.md says which"
            " options each takes.",
        ),
    ],
    sources: options.Sources = [],
    match: options.Match = [],
    limit: options.Limit = None,
    revision: options.Revision = None,
    token: options.Token = None,
    cap: options.Cap = [],
    lam: Annotated[
        float | None,
        typer.Option("--lambda", help="Multiplies what is merged."),
    ] = None,
    density: Annotated[
        float | None,
        typer.Option("--density", help="Share of the entries kept."),
    ] = None,
    weights: Annotated[
        list[str],
        typer.Option(
            "--weights",
            metavar="[ID=]W",
            help="One an adapter: ID=W, or W in the order of ids.",
        ),
    ] = [],
    seed: Annotated[
        int | None, typer.Option("--seed", help="Of random numbers.")
    ] = None,
    k: Annotated[
        int | None, typer.Option("-k", help="Directions of the subspace.")
    ] = None,
    space: Annotated[
        Literal["core", "dense"] | None,
        typer.Option(
            "--space", help="Whose entries are compared: dense by default."
        ),
    ] = None,
    trim: Annotated[
        Literal["layer", "model"] | None,
        typer.Option(
            "--trim",
            help="Where the share of entries is counted: in the model by"
            " default.",
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            "--base",
            metavar="SOURCE",
            help="What full checkpoints were made from.",
        ),
    ] = None,
    rank: Annotated[
        int | None,
        typer.Option(
            "--rank",
            min=1,
            help="Of the merged adapter; the largest among SOURCE unless"
            " given.",
        ),
    ] = None,
    layers: Annotated[
        list[str],
        typer.Option("--layers", metavar="GLOB", help="Only these layers."),
    ] = [],
    dtype: Annotated[
        Literal["F32", "BF16", "F16"] | None,
        typer.Option(
            "--dtype",
            help="Of what is written; that of SOURCE unless given, F32 where"
            " those of adapters differ.",
        ),
    ] = None,
    shard_size: Annotated[
        str | None,
        typer.Option(
            "--shard-size",
            metavar="SIZE",
            help="Of a full checkpoint: the most that one file takes; 5GB"
            " unless given.",
        ),
    ] = None,
    mergekit: Annotated[
        Path | None,
        typer.Option(
            "--mergekit",
            metavar="FILE",
            help="Write the same merge as a configuration of mergekit too.",
        ),
    ] = None,
    interference: Annotated[
        bool,
        typer.Option(
            "--interference",
            help="Measure how much SOURCE get in each other's way.",
        ),
    ] = False,
    memory: options.Memory = "4GiB",
    json: options.Json = False,
    quarantine_ok: options.QuarantineOk = False,
) -> None:
    """Merge LoRA adapters, or full checkpoints, into one, with a card.

    Example: spectra merge adapters/ --method mean -o merged/
    Example: spectra merge a/ b/ --base c/ --method ties -o merged/
    """
    with console.observer("scanning") as watch:
        catalog = spectra.scan(
            *sources, match=match, limit=limit, revision=revision,
            on_event=watch,
        )  # fmt: skip
    with console.observer("merging") as watch:
        merged = spectra.merge(
            catalog, out, method=method, lam=lam, density=density,
            weights=_weights(weights), seed=seed, k=k, space=space, trim=trim,
            base=base, rank=rank, layers=layers, dtype=dtype,
            shard_size=shard_size, memory=memory, interference=interference,
            mergekit=mergekit, on_event=watch,
        )  # fmt: skip
    if json:
        console.document(merged.document)
    else:
        _show(merged)
    kept = len(merged.document["models"])
    finish(set_aside(merged.document), kept, quarantine_ok)


def _weights(
    given: Sequence[str],
) -> Sequence[float] | Mapping[str, float] | None:
    """Return the weights by id, or in order where no id is named."""
    try:
        named = {
            name: float(number)
            for name, equals, number in (w.rpartition("=") for w in given)
            if equals
        }
        if len(named) == len(given):
            return named or None
        return [float(weight) for weight in given]
    except ValueError as error:
        raise UsageError(
            "E_METHOD",
            f"--weights {printable(' '.join(given))} are not numbers",
            advice="give one W an adapter, or one ID=W each",
        ) from error


def _show(merged: "spectra.Merged") -> None:
    if merged.document["rank"] is None:
        _show_models(merged)
    else:
        _show_layers(merged)
    left_out = merged.document["left_out"]
    if left_out:
        console.say(f"left out: {len(left_out)} (see the card)")
    for note in merged.notes:
        console.say(note)
    if merged.interference is not None:
        from spectra.report.merge_card import interference_text

        console.say(interference_text(merged.interference))
    console.say(merged.text)


def _show_layers(merged: "spectra.Merged") -> None:
    worst = sorted(merged.layers, key=lambda layer: -layer["error"])[:_MOST]
    console.table(
        ("layer", "norm", "error of the rank"),
        [(r["name"], f"{r['norm']:.3g}", f"{r['error']:.2e}") for r in worst],
    )


def _show_models(merged: "spectra.Merged") -> None:
    if merged.document["base"] is not None:
        rows = [
            (r["id"], "-" if r["moved"] is None else f"{r['moved']:.2e}")
            for r in merged.document["models"]
        ]
        console.table(("parent", "distance from the base"), rows)
    kept = merged.document["kept"]
    if kept:
        console.say(f"kept as they are: {len(kept)} tensors (see the card)")
