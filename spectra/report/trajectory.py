"""A training run as flat rows: one a layer, one a layer and checkpoint."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from spectra.core.text import printable
from spectra.report.document import Report
from spectra.report.rows import Row
from spectra.report.wording import n_of, number

__all__ = [
    "MOTION",
    "checkpoint_rows",
    "motion",
    "training",
    "trajectory_rows",
]

_SIDES = ("output", "input")
_OVER_TIME = ("drift", "drift_chance", "last_overlap", "last_chance")

MOTION = (
    "Layer", "Checkpoints", "Length", "Straight", "Mean cosine",
    "Output drift (chance)", "Output appears", "Input drift (chance)",
    "Input appears", "p of a change", "Changes at",
)  # fmt: skip
"""Titles of a table of `trajectory_rows`, as `motion` puts them in words."""


def trajectory_rows(report: Report, /) -> list[Row]:
    """Return one row a layer of a training run; none of other populations."""
    return [
        _layer_row(layer["name"], layer["trajectory"])
        for layer in report["layers"]
        if layer.get("trajectory")
    ]


def motion(row: Row, /) -> tuple[str, ...]:
    """Return the cells of `MOTION` of one of `trajectory_rows`."""
    return (
        row["name"], str(row["n"]), number(row["length"]),
        number(row["straightness"]), number(row["cosine"]),
        *_turned(row, "output"), *_turned(row, "input"),
        number(row["p"]), ", ".join(row["at"]) or "–",
    )  # fmt: skip


def _turned(row: Row, side: str) -> tuple[str, str]:
    drift, chance = row[f"{side}_drift"], row[f"{side}_drift_chance"]
    appears = row[f"{side}_appears"] or "–"
    return f"{number(drift)} ({number(chance)})", appears


def _layer_row(name: str, found: Mapping[str, Any]) -> Row:
    weights, changes = found["weights"], found["changes"]
    row: Row = {
        "name": name,
        "n": len(found["places"]),
        "length": weights["length"],
        "straightness": weights["straightness"],
        "cosine": _mean(weights["cosine"]),
    }
    for side in _SIDES:
        of_side = found[f"{side}_side"]
        row[f"{side}_appears"] = of_side["appears"]
        for key in ("drift", "drift_chance"):
            row[f"{side}_{key}"] = _mean(of_side[key])
    whole = None
    if changes is not None:
        # Of all increments, whichever test of a part stands before it.
        whole = max(changes["tests"], key=lambda test: int(test["n"]))
    row["p"] = whole and whole["p"]
    row["at"] = [] if changes is None else changes["at"]
    return row


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def checkpoint_rows(report: Report, /) -> list[Row]:
    """Return one row a layer and checkpoint, in the order of steps.

    What belongs to a step (its length, its direction, the drift) stands at
    the checkpoint that it leads to.
    """
    return [
        row
        for layer in report["layers"]
        if layer.get("trajectory")
        for row in _over_time(layer, report["trajectory"]["checkpoints"])
    ]


def _over_time(
    layer: Mapping[str, Any], checkpoints: Sequence[Mapping[str, Any]]
) -> Iterator[Row]:
    found = layer["trajectory"]
    weights, changes = found["weights"], found["changes"]
    columns = {
        "step_length": [None, *weights["step"]],
        "cosine_with_step_before": [None, None, *weights["cosine"]],
        "net_share": [None, *weights["net_share"]],
        "from_first": weights["from_first"],
        "to_last": weights["to_last"],
    }
    n = len(found["places"])
    for side in _SIDES:
        for key in _OVER_TIME:
            values = found[f"{side}_side"][key]
            columns[f"{side}_{key}"] = [None] * (n - len(values)) + values
    for key in ("effective_rank", "stable_rank", "alpha"):
        columns[key] = found[key] or [None] * n
    at = () if changes is None else changes["at"]
    for i, place in enumerate(found["places"]):
        checkpoint = checkpoints[place]
        yield {
            "layer": layer["name"],
            "architecture": layer.get("architecture"),
            "checkpoint": checkpoint["id"],
            "step": checkpoint["step"],
            **{name: values[i] for name, values in columns.items()},
            "is_change": None if changes is None else checkpoint["id"] in at,
        }


def training(report: Report, /) -> tuple[str, ...]:
    """Return what is to be known of a training run, a sentence each."""
    run = report["trajectory"]
    if not run["checkpoints"]:
        return ("No checkpoint has a layer that was analysed.",)
    first, *_, last = run["checkpoints"]
    return tuple(_sentences(run, first["id"], last["id"]))


def _sentences(run: Mapping[str, Any], first: str, last: str) -> Iterator[str]:
    changes = run["changes"]
    yield (
        f"{n_of(len(run['checkpoints']), 'checkpoint')} in the order of"
        f" {printable(first)} to {printable(last)}."
    )
    if run["copies"]:
        copies = ", ".join(map(printable, run["copies"]))
        yield f"Copies under other names: {copies}."
    yield (
        "Layers whose steps go another way from a checkpoint on:"
        f" {changes['n_changed']} of {changes['n_tested']} tested (p up to"
        f" {changes['alpha']:.3g} each); by chance, if the order of steps"
        f" meant nothing, at most {number(changes['n_by_chance'])}. A slow"
        " turn is found as well as a sudden one."
    )
    if changes["n_too_short"]:
        short = n_of(changes["n_too_short"], "layer")
        yield f"Too few steps for any change to be told: {short}."
    if changes["at"]:
        most = max(changes["at"], key=lambda each: int(each["n_layers"]))
        yield (
            f"Most often it is {printable(most['id'])}, in"
            f" {n_of(most['n_layers'], 'layer')}."
        )
