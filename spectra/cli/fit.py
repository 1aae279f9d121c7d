"""``spectra fit``: the one pass over the weights."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

import spectra
from spectra.cli import console, options
from spectra.cli.outcome import finish
from spectra.core.settings import FitSettings, HubQuery

__all__ = ["command"]


def command(
    context: typer.Context,
    out: Annotated[
        Path,
        typer.Option(
            "-o",
            "--out",
            help="The run file to write. A finished one is added to.",
        ),
    ],
    sources: options.Sources = [],
    match: options.Match = [],
    limit: options.Limit = None,
    author: options.Author = None,
    search: options.Search = None,
    filter: options.Filter = [],
    base_model: options.BaseModel = None,
    relation: options.Relation = None,
    num_parameters: options.NumParameters = None,
    sort: options.Sort = None,
    revision: options.Revision = None,
    token: options.Token = None,
    cap: options.Cap = [],
    base: options.Base = None,
    layers: options.Layers = [],
    rank: options.Rank = 16,
    device: options.Device = "auto",
    precision: options.Precision = "f32",
    memory: options.Memory = "4GiB",
    max_stream: options.MaxStream = "1GiB",
    workers: options.Workers = 0,
    scheduler: options.Scheduler = None,
    save_directions: options.SaveDirections = False,
    recipe: options.Recipes = [],
    metrics: options.Metrics = False,
    json: options.Json = False,
    quarantine_ok: options.QuarantineOk = False,
) -> None:
    """Read every layer once and keep small matrices in a run file.

    Onto a finished run: what is new of SOURCE is added, and the result is
    that of a fit of all. To replace a run, remove it first.

    Example: spectra fit adapters/ -o run.h5
    Example: spectra fit more-adapters/ -o run.h5
    """
    with console.observer("scanning") as watch:
        catalog = spectra.scan(
            *sources,
            match=match,
            limit=limit,
            on_event=watch,
            **options.chosen(HubQuery, context),
        )
    with console.observer("fitting") as watch:
        run = spectra.fit(
            catalog,
            out,
            on_event=watch,
            **options.given(FitSettings, context),
        )
    if json:
        console.document(_summary(run))
    else:
        _show(run)
    aside = dict.fromkeys((*run.value.quarantine, *catalog.value.quarantine))
    finish(tuple(aside), len(run.models), quarantine_ok)


def _show(run: "spectra.Run") -> None:
    if run.n_new == 0:
        console.say(
            f"nothing new for {run.path}, which has {len(run.models)}"
            " checkpoints: no weight was read; to fit afresh remove it, or"
            " choose another -o"
        )
        return
    reasons = Counter(record.code for record in run.value.left_out)
    if reasons:
        counts = ", ".join(f"{n} {r}" for r, n in sorted(reasons.items()))
        console.say(f"sound, but left out: {counts} (see docs/codes.md)")
    new = "" if run.n_new is None else f" ({run.n_new} new)"
    console.say(
        f"{len(run.models)} checkpoints{new}, {len(run.layers)} layers ->"
        f" {run.path}; next: spectra overlap {run.path}"
    )


def _summary(run: "spectra.Run") -> dict[str, object]:
    return {
        "run": str(run.path),
        "n_scanned": run.value.n_scanned,
        "n_models": len(run.models),
        "n_new": len(run.models) if run.n_new is None else run.n_new,
        "layers": list(run.layers),
        "left_out": [asdict(record) for record in run.value.left_out],
        "quarantine": [asdict(record) for record in run.value.quarantine],
    }
