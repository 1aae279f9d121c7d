"""``spectra scan``: which checkpoints there are, from their headers."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from spectra.api.catalog import Catalog
from spectra.api.catalog import scan as scan_sources
from spectra.cli import console, options
from spectra.cli.outcome import finish
from spectra.core.settings import HubQuery

__all__ = ["command"]

_NOT_ANALYSED = {
    "skipped": "tensors that are no layers",
    "refused": "tensors that are refused",
}


def command(
    context: typer.Context,
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
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Write the catalogue here."),
    ] = None,
    json: options.Json = False,
    quarantine_ok: options.QuarantineOk = False,
) -> None:
    """List checkpoints and group them by architecture; read headers only.

    Example: spectra scan adapters/ -o catalog.jsonl
    Example: spectra scan --author ORG --base-model ORG/BASE -o catalog.jsonl
    """
    with console.observer("scanning") as watch:
        catalog = scan_sources(
            *sources,
            match=match,
            limit=limit,
            on_event=watch,
            **options.chosen(HubQuery, context),
        )
    if out is not None:
        catalog.save(out)
    if json:
        console.document(catalog.to_json())
    else:
        _show(catalog, out)
    finish(catalog.value.quarantine, len(catalog), quarantine_ok)


def _show(catalog: Catalog, out: Path | None) -> None:
    console.table(
        ("architecture", "checkpoints", "layers", "first member"),
        [
            (a.id, str(len(a.members)), str(len(a.layers)), a.members[0])
            for a in catalog.value.architectures
        ],
    )
    copies = [m for m in catalog.value.models if m.duplicate_of]
    for model in copies:
        console.say(f"{model.id} has the same tensors as {model.duplicate_of}")
    counts = Counter(
        (row["status"], row["reason"])
        for row in catalog.coverage()
        if row["tensor"] is not None
    )
    for status, what in _NOT_ANALYSED.items():
        found = ", ".join(
            f"{n} {reason}"
            for (which, reason), n in sorted(counts.items())
            if which == status
        )
        if found:
            console.say(f"{what}: {found}")
    if out is not None:
        console.say(f"wrote {out}; next: spectra fit {out} -o run.h5")
