"""The first sentence of a report, which many will read alone."""

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from spectra.core.text import printable
from spectra.statistics.plain import percent
from spectra.statistics.verdict.rule import counted

__all__ = ["summary"]

Document = Mapping[str, Any]

_ARTEFACTS = {
    "shared-initialisation": "one random start",
    "shared-lineage": "descent",
}


def summary(
    population: Document, layers: Sequence[Document], /, *, n_unasked: int
) -> str:
    """Return what was found, in one sentence.

    Parameters
    ----------
    population, layers
        As in report.json.
    n_unasked
        Layers that were fitted but are not in the report.
    """
    clauses = [
        _what_was_found(population, layers),
        _starts(population),
        _descent(population),
        _artefacts(layers),
        _held_out(layers),
        _mean(layers),
        _unasked(n_unasked),
    ]
    return "; ".join(clause for clause in clauses if clause) + "."


def _n(count: int, noun: str, several: str | None = None) -> str:
    return f"{count} {noun if count == 1 else several or noun + 's'}"


def _what_was_found(population: Document, layers: Sequence[Document]) -> str:
    copies = population["n_models"] - population["n_unique"]
    who = (
        f"{_n(population['n_unique'], 'model')}"
        + (f" (and {_n(copies, 'exact copy', 'exact copies')})" * bool(copies))
        + f" in {_n(population['n_groups'], 'independent group')}"
    )
    counts = counted([layer["verdict"] for layer in layers])
    if not counts:
        return f"{who}: no layer was analysed"
    if len(layers) == 1:
        return f"{who}: the layer is {layers[0]['verdict']}"
    found = [
        f"{count} {'is' if count == 1 else 'are'} {verdict}"
        for verdict, count in sorted(counts.items(), key=lambda row: -row[1])
    ]
    if len(found) == 1:
        return f"{who}: all {found[0].replace(' are', ' layers are')}"
    return f"{who}: of {len(layers)} layers, {', '.join(found)}"


def _starts(population: Document) -> str:
    models = [m for m in population["models"] if m["duplicate_of"] is None]
    sizes = Counter(
        m["init_group"] for m in models if m["init_group"] is not None
    )
    largest = max(sizes.values(), default=0)
    if largest < 2:
        return ""
    return (
        f"the largest initialisation group, members of one random start, has"
        f" {largest} of {len(models)} models"
    )


def _descent(population: Document) -> str:
    models = [m for m in population["models"] if m["duplicate_of"] is None]
    sizes = Counter(m["group"] for m in models if m["group"] is not None)
    several = [size for size in sizes.values() if size > 1]
    if not several:
        return ""
    return (
        f"{sum(several)} of {len(models)} models are alike as descendants are,"
        f" in {_n(len(several), 'lineage group')}"
    )


def _artefacts(layers: Sequence[Document]) -> str:
    counts = counted([layer["verdict"] for layer in layers])
    found = [
        f"what they have in common in {_n(counts[verdict], 'layer')} is an"
        f" artefact of {origin}"
        for verdict, origin in _ARTEFACTS.items()
        if verdict in counts
    ]
    return "; ".join(found)


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
    several = len(effects) > 1
    return (
        f"{'at best ' * several}{_n(int(k), 'direction')} of the other groups"
        f" carried {percent(best['captured'][k])} of a held-out deviation,"
        f" random ones {percent(best['captured_random'][k])}"
        + f" (in {printable(name)})"
        * several
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
        return f"the mean of the others predicts no better than zero{where}"
    return (
        f"the mean of the others explains {percent(middle)} of a member's"
        f" energy{where}"
    )


def _unasked(n: int) -> str:
    if not n:
        return ""
    return f"--layers left out {_n(n, 'layer')} of the run"
