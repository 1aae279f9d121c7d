"""``spectra plan``: what fit would read and need."""

from dataclasses import asdict

import typer

from spectra.api.catalog import scan
from spectra.cli import console, options
from spectra.core.settings import FitSettings

__all__ = ["command"]


def command(
    context: typer.Context,
    sources: options.Sources,
    match: options.Match = [],
    limit: options.Limit = None,
    base: options.Base = None,
    layers: options.Layers = [],
    rank: options.Rank = 16,
    device: options.Device = "auto",
    precision: options.Precision = "f32",
    memory: options.Memory = "4GiB",
    workers: options.Workers = 0,
    save_directions: options.SaveDirections = False,
    json: options.Json = False,
) -> None:
    """Say what fit would read and need; fetch nothing but headers.

    Example: spectra plan adapters/ --memory 2GiB
    """
    plan = scan(*sources, match=match, limit=limit).plan(
        **options.chosen(FitSettings, context),
    )
    if json:
        console.document(asdict(plan))
        return
    console.say(
        f"{plan.n_models} checkpoints, {plan.n_layers} layers:"
        f" {_size(plan.bytes_to_read)} to read, {plan.requests} requests"
    )
    console.say(
        f"{_size(plan.memory_bytes)} of memory at the peak with"
        f" {plan.workers} workers, {_size(plan.disk_bytes)} of disk,"
        f" about {plan.seconds:.0f} s"
    )


def _size(nbytes: int) -> str:
    return f"{nbytes / 2**20:.1f} MiB"
