"""What the script of the page is given: pairs, scores, weights."""

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from spectra.core.text import printable
from spectra.report.document import Report, script_json
from spectra.report.explorer import MAP_BUDGET
from spectra.report.pairs import tree

__all__ = ["drawn", "entries_of"]

_NUMBERS = ("value", "null_mean", "null_high", "excess", "p", "p_adjusted")


def drawn(document: Report, /) -> dict[str, Any]:
    """Return the JSON-able document that the page's script draws from.

    Models stand as their places. Metrics get their pairs in their order, as
    long as there is room; ``alignment.csv`` has every pair.
    """
    places = {model["id"]: i for i, model in enumerate(document["models"])}
    left = MAP_BUDGET
    metrics: list[dict[str, Any]] = []
    for matrix in document["matrices"]:
        metric = _metric(document, matrix, places)
        left -= len(script_json(metric))
        if left < 0:
            metric |= {"pairs": None, "weights": None}
        metrics.append(metric)
    return {
        "models": [
            {
                "name": printable(model["id"]),
                "group": None,
                "layers": [printable(x["name"]) for x in model["layers"]],
            }
            for model in document["models"]
        ],
        "metrics": metrics,
    }


def entries_of(document: Report, key: str, /) -> list[dict[str, Any]]:
    """Return what ``convergence`` or ``weights`` says, an entry a metric."""
    found: Any = document.get(key) or ()
    return list(found["by_metric"] if key == "weights" and found else found)


def _metric(
    document: Report, matrix: Mapping[str, Any], places: Mapping[str, int]
) -> dict[str, Any]:
    name = matrix["metric"]
    layers = {
        model["id"]: {x["name"]: i for i, x in enumerate(model["layers"])}
        for model in document["models"]
    }
    return {
        "name": printable(name),
        **_order(matrix, places),
        "pairs": [
            [
                places[pair["a"]],
                places[pair["b"]],
                *(_rounded(pair.get(key)) for key in _NUMBERS),
                layers[pair["a"]][pair["layer_a"]],
                layers[pair["b"]][pair["layer_b"]],
            ]
            for pair in document["pairs"]
            if pair["metric"] == name
        ],
        "score": _score(document, name, places),
        "weights": _weights(document, name, places),
    }


def _order(
    matrix: Mapping[str, Any], places: Mapping[str, int]
) -> dict[str, Any]:
    """Return the order of the models, and where it is of their tree that."""
    order = [places[id_] for id_ in matrix["order"]]
    found = tree(np.array(matrix["values"], float))
    joins = [_rounded(value) for value in found.joins]
    return {"order": order, "joins": joins if found.order == order else None}


def _score(
    document: Report, metric: str, places: Mapping[str, int]
) -> dict[str, Any] | None:
    for found in entries_of(document, "convergence"):
        if found["metric"] == metric:
            return {
                "points": [
                    [places[m["id"]], m["score"], m["alignment"]]
                    for m in found["models"]
                ],
                "slope": found["slope"],
                "intercept": found["intercept"],
                "band": [
                    [at["score"], at["low"], at["high"]]
                    for at in found["band"]
                ],
                "text": printable(found["text"], limit=sys.maxsize),
            }
    return None


def _weights(
    document: Report, metric: str, places: Mapping[str, int]
) -> dict[str, Any] | None:
    for found in entries_of(document, "weights"):
        if found["metric"] == metric:
            return {
                "points": [
                    [places[pair["a"]], places[pair["b"]],
                     _rounded(pair["overlap"]), _rounded(pair["alignment"])]
                    for pair in found["pairs"]
                ],
                "text": printable(found["text"], limit=sys.maxsize),
            }  # fmt: skip
    return None


def _rounded(value: float | None) -> float | None:
    # Four digits are more than a plot shows.
    return None if value is None else float(f"{value:.4g}")
