"""What is told of aligned models: pairs, matrices, and a sentence."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.align.representations.metrics import Metric
from spectra.align.representations.null import Highest, adjusted
from spectra.report.pairs import clustered
from spectra.statistics.plain import number
from spectra.study.represented import Represented

__all__ = ["Found", "conclusion", "described", "excesses", "matrices", "rows"]

Document = dict[str, Any]
Models = Sequence[Represented]


@dataclass(frozen=True, slots=True)
class Found:
    """One metric of one pair, by places of the models."""

    a: int
    b: int
    metric: Metric
    n_items: int
    highest: Highest


def rows(models: Models, found: Sequence[Found], /) -> list[Document]:
    """Return what is told of each pair."""
    p = [0.0] * len(found)
    for metric in {each.metric.name for each in found}:
        own = [i for i, f in enumerate(found) if f.metric.name == metric]
        adjusts = adjusted([found[i].highest for i in own])
        for i, value in zip(own, adjusts, strict=True):
            p[i] = value
    return [
        _row(models, each, own) for each, own in zip(found, p, strict=True)
    ]


def _row(models: Models, found: Found, p_adjusted: float) -> Document:
    a, b, best = models[found.a], models[found.b], found.highest
    i, j = best.place
    return {
        "a": a.id,
        "b": b.id,
        "metric": found.metric.name,
        "value": number(best.value),
        "null_mean": number(best.null_mean),
        "null_high": number(best.null_high),
        "excess": number(best.value - best.null_mean),
        "p": best.p,
        "p_adjusted": p_adjusted,
        "n_items": found.n_items,
        "coverage": found.n_items / max(a.n_rows, b.n_rows),
        "layer_a": a.layers[i].name,
        "layer_b": b.layers[j].name,
    }


def described(model: Represented, /) -> Document:
    """Return what is told of a model: its rows and layers."""
    return {
        "id": model.id,
        "kind": model.kind,
        "n_rows": model.n_rows,
        "layers": [
            {"name": layer.name, "width": layer.width}
            for layer in model.layers
        ],
    }


def excesses(
    metrics: Sequence[Metric], n: int, found: Sequence[Found], /
) -> dict[str, NDArray[np.float64]]:
    """Return the excess of each metric, symmetric, over n models.

    Of a metric that has a direction the mean of both.
    """
    excess = {metric.name: np.zeros((n, n)) for metric in metrics}
    for each in found:
        value = each.highest.value - each.highest.null_mean
        excess[each.metric.name][each.a, each.b] = value
    for metric in metrics:
        one = excess[metric.name]
        excess[metric.name] = (one + one.T) / (2 if metric.is_directed else 1)
    return excess


def matrices(
    metrics: Sequence[Metric], models: Models, found: Sequence[Found], /
) -> list[Document]:
    """Return what is told of each metric for all pairs together."""
    told = []
    for metric in metrics:
        values = np.full((len(models), len(models)), np.nan)
        for each in found:
            if each.metric is metric:
                values[each.a, each.b] = each.highest.value
                if not metric.is_directed:
                    values[each.b, each.a] = each.highest.value
        told.append(
            {
                "metric": metric.name,
                "cite": metric.cite,
                "order": [models[i].id for i in clustered(values)],
                "values": [[number(x) for x in row] for row in values],
            }
        )
    return told


def conclusion(
    pairs: Sequence[Document], metric: Metric, models: Models, draws: int, /
) -> str:
    """Return a sentence of what was found by one metric."""
    own = [row for row in pairs if row["metric"] == metric.name]
    n = own[0]["n_items"]
    if len(models) == 2:
        row = own[0]
        return (
            f"{row['a']} and {row['b']}: {metric.name} {row['value']:.3f},"
            f" {row['null_mean']:.3f} with permuted items"
            f" (p = {row['p']:.2g}), over {n} items"
        )
    above = sum(row["value"] > row["null_high"] for row in own)
    return (
        f"{above} of {len(own)} pairs have a higher {metric.name} than with"
        f" any of {draws} permutations of the {n} items"
    )
