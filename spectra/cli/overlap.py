"""``spectra overlap``: how shared, beside what chance would give."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

import spectra
from spectra.cli import console, options
from spectra.cli.outcome import finish, set_aside
from spectra.core.errors import UsageError
from spectra.core.settings import OverlapSettings

__all__ = ["REFUSED", "command", "is_refused", "show"]

REFUSED = 9
"""The exit code where a layer has a verdict that was to fail."""


def command(
    context: typer.Context,
    run: options.RunFile,
    layers: options.ReportLayers = [],
    k: options.Levels = [],
    null: options.Nulls = [],
    draws: options.Draws = 199,
    seed: options.Seed = 0,
    bootstrap: options.Bootstrap = 500,
    groups: Annotated[
        Path | None,
        typer.Option(
            "--groups",
            help="CSV with a checkpoint id and a group name a line, to be"
            " used instead of the lineage found in the weights.",
        ),
    ] = None,
    ordered: options.Ordered = False,
    fail_on: options.FailOn = [],
    json: options.Json = False,
    quarantine_ok: options.QuarantineOk = False,
) -> None:
    """Measure sharedness against nulls and held-out groups; read no weights.

    Example: spectra overlap run.h5 --null permuted-rows --draws 999
    """
    with console.observer("measuring") as watch:
        report = spectra.overlap(
            spectra.load(run),
            on_event=watch,
            **options.chosen(OverlapSettings, context)
            | {"groups": None if groups is None else _groups(groups)},
        )
    if json:
        console.document(report.document)
    else:
        show(report)
        console.say(f"next: spectra report {run} -o report/")
    refused = is_refused(report, fail_on)
    fitted = report.run
    known = set(fitted.value.quarantine)
    lost = [q for q in set_aside(report.document) if q not in known]
    finish(lost, len(fitted.models), quarantine_ok or refused)
    if refused:
        raise typer.Exit(REFUSED)


def _groups(path: Path) -> dict[str, str]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(
            "E_GROUPS", f"cannot read {path} ({error})"
        ) from error
    bad = [i for i, row in enumerate(rows, 1) if len(row) != 2]
    if bad:
        raise UsageError(
            "E_GROUPS",
            f"line {bad[0]} of {path} does not hold two values",
            advice="write one ID,GROUP a line",
        )
    return {row[0].strip(): row[1].strip() for row in rows}


def show(report: "spectra.OverlapReport") -> None:
    """Print one line a layer and the verdict on the population."""
    title, names = console.layer_column([x["name"] for x in report.layers])
    console.table(
        (title, "verdict", "n", "k", *_NUMBERS),
        [
            (name, *_row(layer))
            for name, layer in zip(names, report.layers, strict=True)
        ],
        left=2,
    )
    _show_recipes(report)
    _show_training(report)
    score = report.document["alpha_score"]
    if score is not None:
        console.say(
            f"layer score: q_all {console.number(score['q_all'])}, q_arch"
            f" {console.number(score['q_arch'])}; {score['n_retained']} of"
            f" {score['n_layers']} layers retained"
        )
    word = report.document["verdict"]["word"]
    console.say(f"overall {word}: {report.verdict}")


def _show_recipes(report: "spectra.OverlapReport") -> None:
    if not any(layer["recipes"] for layer in report.layers):
        return
    from spectra.report.rows import recipe_rows

    rows = recipe_rows(report.document)
    console.table(
        ("recipe", "layers", "features", "samples", "k", "EVR", "chance"),
        [
            (
                row["recipe"], str(row["n_layers"]), row["features"],
                row["samples"], row["k"], console.number(row["evr"]),
                console.number(row["null"]),
            )
            for row in rows
        ],
    )  # fmt: skip
    for caveat, name in {row["caveat"]: row["name"] for row in rows}.items():
        console.say(f"{name}: {caveat}")


def _show_training(report: "spectra.OverlapReport") -> None:
    if "trajectory" not in report.document:
        return
    from spectra.report.trajectory import (
        MOTION,
        motion,
        training,
        trajectory_rows,
    )

    rows = [motion(row) for row in trajectory_rows(report.document)]
    console.table([title.lower() for title in MOTION], rows)
    for sentence in training(report.document):
        console.say(sentence)


def is_refused(
    report: "spectra.OverlapReport", fail_on: Sequence[str], /
) -> bool:
    """Tell which layers have a verdict that was to fail; return if any."""
    from spectra.statistics.verdict.rule import counted

    refused = [x for x in report.layers if x["verdict"] in fail_on]
    if refused:
        found = counted([layer["verdict"] for layer in refused])
        words = ", ".join(f"{n} {word}" for word, n in found.items())
        console.problem(
            "E_VERDICT",
            f"{len(refused)} of {len(report.layers)} layers have a verdict of"
            f" --fail-on ({words}), the first of them {refused[0]['name']};"
            " the report is complete",
        )
    return bool(refused)


_NUMBERS = ("EVR", "null", "e_lo", "r2.mean")


def _row(layer: dict[str, Any]) -> tuple[str, ...]:
    """Return a layer's numbers at the k at which its effect was judged."""
    axis = layer["model_axis"]
    effect, r2 = axis["held_out"]["effect"], axis["held_out"]["r2"]
    k = str(effect["k"] or 1)
    null = axis["null"].get("strength", {}).get("evr", {}).get(k) or {}
    return (
        layer["verdict"],
        str(layer["n_models"]),
        k if effect["k"] else "-",
        console.number(axis["evr"].get(k)),
        console.number(null.get("mean")),
        console.number(effect["low"]),
        console.number(r2["mean"]),
    )
