"""The first sentence of a report, which many will read alone."""

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from spectra.core.text import printable
from spectra.overlap.verdict import counted, percent

__all__ = ["summary"]

Document = Mapping[str, Any]

_ARTEFACTS = {
    "shared-initialisation": "a shared random start",
    "shared-lineage": "descent from one another",
}


def summary(population: Document, layers: Sequence[Document], /) -> str:
    """Return what was found, in one sentence.

    Parameters
    ----------
    population, layers
        As in report.json.
    """
    clauses = [
        _what_was_found(population, layers),
        _starts(population),
        _descent(population),
        _artefacts(layers),
        _held_out(layers),
        _mean(layers),
    ]
    return "; ".join(clause for clause in clauses if clause) + "."


def _n(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _what_was_found(population: Document, layers: Sequence[Document]) -> str:
    who = (
        f"{_n(population['n_unique'], 'distinct model')} in"
        f" {_n(population['n_groups'], 'independent group')}"
    )
    counts = counted([layer["verdict"] for layer in layers])
    if not counts:
        return f"{who}: no layer was analysed"
    total = _n(len(layers), "layer")
    parts = sorted(counts.items(), key=lambda item: -item[1])
    if len(parts) == 1:
        every = "its one layer" if len(layers) == 1 else f"all {total}"
        return f"{who}: {every} {parts[0][0]}"
    found = ", ".join(f"{count} {verdict}" for verdict, count in parts)
    return f"{who}: of {total}, {found}"


def _starts(population: Document) -> str:
    models = [m for m in population["models"] if m["duplicate_of"] is None]
    sizes = Counter(
        m["init_group"] for m in models if m["init_group"] is not None
    )
    largest = max(sizes.values(), default=0)
    if largest < 2:
        return ""
    return (
        f"the largest initialisation group, members of one random start, holds"
        f" {largest} of {len(models)} models"
    )


def _descent(population: Document) -> str:
    models = [m for m in population["models"] if m["duplicate_of"] is None]
    sizes = Counter(m["group"] for m in models if m["group"] is not None)
    several = [size for size in sizes.values() if size > 1]
    if not several:
        return ""
    return (
        f"{sum(several)} of {len(models)} models descend from one another, in"
        f" {_n(len(several), 'lineage group')}"
    )


def _artefacts(layers: Sequence[Document]) -> str:
    counts = counted([layer["verdict"] for layer in layers])
    found = [
        f"{origin} in {_n(counts[verdict], 'layer')}"
        for verdict, origin in _ARTEFACTS.items()
        if verdict in counts
    ]
    if not found:
        return ""
    return f"what members have in common comes from {' and '.join(found)}"


def _held_out(layers: Sequence[Document]) -> str:
    effects = [
        (layer["model_axis"]["held_out"], layer["name"])
        for layer in layers
        if layer["verdict"] not in _ARTEFACTS
        and layer["model_axis"]["held_out"]["effect"]["k"] is not None
    ]
    if not effects:
        return ""
    best, name = max(effects, key=lambda found: found[0]["effect"]["low"])
    k = str(best["effect"]["k"])
    where = f" (most in {printable(name)})" if len(effects) > 1 else ""
    return (
        f"{_n(int(k), 'direction')} of the other groups carried"
        f" {percent(best['captured'][k])} of a held-out deviation, random"
        f" ones {percent(best['captured_random'][k])}{where}"
    )


def _mean(layers: Sequence[Document]) -> str:
    shares = [
        layer["model_axis"]["held_out"]["r2"]["mean"]
        for layer in layers
        if "mean_low" in layer["model_axis"]["held_out"]["r2"]
    ]
    if not shares:
        return ""
    middle = median(shares)
    where = f" (median of {len(shares)} layers)" if len(shares) > 1 else ""
    if middle <= 0:
        return f"the mean of the others predicts no member{where}"
    return (
        f"the mean of the others explains {percent(middle)} of a member's"
        f" energy{where}"
    )
