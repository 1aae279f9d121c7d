"""``spectra scan``: which checkpoints there are, from their headers."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

import spectra
from spectra.cli import console, options
from spectra.cli.outcome import finish
from spectra.core.settings import HubQuery
from spectra.core.text import printable

__all__ = ["command"]

_ROWS = 20
"""Of a list; --json and the catalogue hold it whole."""

_TENSORS = {
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
    cap: options.Cap = [],
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
        catalog = spectra.scan(
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


def _show(catalog: "spectra.Catalog", out: Path | None) -> None:
    found = sorted(catalog.value.architectures, key=lambda a: -len(a.members))
    console.table(
        ("architecture", "checkpoints", "layers", "first member"),
        [
            (a.id, str(len(a.members)), str(len(a.layers)), a.members[0])
            for a in found[:_ROWS]
        ],
    )
    if len(found) > _ROWS:
        console.say(f"and {len(found) - _ROWS} more architectures")
    copies: dict[str, list[str]] = {}
    for model in catalog.value.models:
        if model.duplicate_of is not None:
            copies.setdefault(model.duplicate_of, []).append(model.id)
    for original, (copy, *rest) in list(copies.items())[:_ROWS]:
        have = f"and {len(rest)} more have" if rest else "has"
        console.say(
            f"{printable(copy)} {have} the same tensors as"
            f" {printable(original)}"
        )
    if len(copies) > _ROWS:
        console.say(f"and so on, of {len(copies) - _ROWS} more originals")
    for status, reasons in _not_analysed(catalog).items():
        counts = ", ".join(f"{n} {r}" for r, n in sorted(reasons.items()))
        console.say(f"{_TENSORS[status]}: {counts}")
    if out is not None:
        console.say(f"wrote {out}; next: spectra fit {out} -o run.h5")


def _not_analysed(catalog: "spectra.Catalog") -> dict[str, Counter[str]]:
    """Return how many tensors are skipped and refused, by reason."""
    counts = {status: Counter[str]() for status in _TENSORS}
    for row in catalog.coverage():
        if row["tensor"] is not None and row["status"] in counts:
            counts[row["status"]][row["reason"]] += 1
    return {status: reasons for status, reasons in counts.items() if reasons}
