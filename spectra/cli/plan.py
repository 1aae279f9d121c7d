"""``spectra plan``: what fit would read and need."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

import spectra
from spectra.cli import console, options
from spectra.core.settings import FitSettings, HubQuery

__all__ = ["command"]


def command(
    context: typer.Context,
    sources: options.Sources = [],
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", help="The run file that fit would write or add to."
        ),
    ] = None,
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
    save_directions: options.SaveDirections = False,
    recipe: options.Recipes = [],
    metrics: options.Metrics = False,
    json: options.Json = False,
) -> None:
    """Say what fit would read and need; fetch nothing but headers.

    Example: spectra plan adapters/ --memory 2GiB
    Example: spectra plan more-adapters/ -o run.h5
    """
    catalog = spectra.scan(
        *sources,
        match=match,
        limit=limit,
        **options.chosen(HubQuery, context),
    )
    plan = catalog.plan(out, **options.given(FitSettings, context))
    if json:
        console.document(asdict(plan))
        return
    console.say(
        f"{plan.n_models} checkpoints, {plan.n_layers} layers:"
        f" {_size(plan.bytes_to_read)} to read"
    )
    if not plan.bytes_to_read:
        return
    if plan.repositories:
        console.say(
            f"{plan.repositories} repositories:"
            f" {_size(plan.bytes_to_fetch)} to fetch in {plan.requests}"
            " requests (the public hub answers 3000 in five minutes without"
            f" a token, 5000 with one): {plan.whole_files} files whole, into"
            f" the cache, layers of {plan.ranged_files} by range"
        )
    console.say(
        f"{_size(plan.memory_bytes)} of memory at the peak with"
        f" {plan.workers} workers, {_size(plan.disk_bytes)} of disk,"
        f" about {plan.seconds:.0f} s"
    )
    if plan.layers_on_disk:
        console.say(
            f"layers that do not fit with all checkpoints:"
            f" {plan.layers_on_disk}; what is read of them waits on the disk,"
            " and is multiplied in blocks of columns"
        )
    if plan.pairs_share > _MOSTLY:
        console.say(
            f"{plan.pairs_share:.0%} of the arithmetic is products of all"
            " pairs: half as many checkpoints (--match, --limit) take a"
            " quarter of it"
        )
    if plan.sides_asked:
        sides = plan.sides_asked + plan.sides_unasked
        console.say(
            f"the null of {plan.sides_asked} of {sides} sides is drawn only"
            " with overlap --null side-strength: about"
            f" {plan.side_null_seconds:.0f} s of one core"
        )


_MOSTLY = 0.5
"""A share from which a sample saves more than the bytes that it leaves."""


def _size(nbytes: int) -> str:
    return f"{nbytes / 2**20:.1f} MiB"
