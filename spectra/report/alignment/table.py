"""The pairs as rows of the page's table, each with a small bar."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from spectra.report.document import Report
from spectra.report.rows import Row

__all__ = ["MOST_ROWS", "pair_rows", "span", "titles"]

MOST_ROWS = 1600
"""Of one page, of all metrics together: forty models by two metrics."""

_COLUMNS = {
    "value": "Value",
    "null_mean": "Permuted",
    "null_high": "Highest permuted",
    "excess": "Excess",
    "p": "p",
    "p_adjusted": "p adjusted",
    "n_items": "Items",
    "coverage": "Coverage",
}

_OFTEN_EQUAL = "n_items", "coverage"

Pair = Mapping[str, Any]


def titles(document: Report, /) -> list[str]:
    """Return what stands over the numbers of `pair_rows`."""
    return [_COLUMNS[key] for key in _known(document)]


def span(document: Report, /) -> tuple[float, float]:
    """Return where all bars begin and end."""
    values = [
        pair[key]
        for pair in document["pairs"]
        for key in ("value", "null_mean", "null_high")
    ]
    return min(0.0, *values), max(1.0, *values)


def pair_rows(document: Report, /) -> Iterator[Row]:
    """Yield a row a pair and metric, of each metric the most aligned first."""
    metrics = [matrix["metric"] for matrix in document["matrices"]]
    ends, keys = span(document), _known(document)
    for place, metric in enumerate(metrics):
        own = [pair for pair in document["pairs"] if pair["metric"] == metric]
        own.sort(key=lambda pair: -pair["excess"])
        for pair in own[: max(1, MOST_ROWS // len(metrics))]:
            yield {
                **{key: pair[key] for key in ("a", "b", "layer_a", "layer_b")},
                "metric": place,
                "numbers": [pair[key] for key in keys],
                "bar": _bar(pair, *ends),
            }


def _known(document: Report) -> Sequence[str]:
    """Return the columns that there are, and that are not one number."""
    pairs = document["pairs"]
    return [
        key
        for key in _COLUMNS
        if key in pairs[0]
        and (key not in _OFTEN_EQUAL or len({pair[key] for pair in pairs}) > 1)
    ]


def _bar(pair: Pair, low: float, high: float) -> tuple[str, str, str]:
    """Return paths in a box of 100 by 8: what draws reach, value, mean."""

    def x(value: float) -> float:
        return round(100 * (value - low) / (high - low), 1)

    zero = x(0)
    return (
        f"M{zero:g} 0H{x(pair['null_high']):g}V8H{zero:g}",
        f"M{zero:g} 2H{x(pair['value']):g}V6H{zero:g}",
        f"M{x(pair['null_mean']):g} 0V8",
    )
