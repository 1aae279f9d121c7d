"""Numbers and findings of a report in words."""

from collections.abc import Iterator, Mapping
from typing import Any

from spectra.report.document import Report, at

__all__ = [
    "VERDICTS",
    "caveats",
    "counts",
    "grouping",
    "headline",
    "n_of",
    "number",
]

VERDICTS = {
    "shared": "directions found without a lineage group carry far more of its"
    " deviations than random directions do, and the spectrum beats its null",
    "weakly-shared": "the same, by a smaller margin",
    "shared-mean-only": "members have one common update; around it there are"
    " no shared directions",
    "not-shared": "no more is shared than chance allows",
    "explained-by-norms": "the spectrum is uneven, but as uneven as members"
    " of different norms make it without any shared direction",
    "shared-initialisation": "what is shared comes from one random start",
    "shared-lineage": "what is shared comes from members that descend from"
    " one another",
    "too-few-models": "fewer independent groups than a judgement needs, five"
    " unless set otherwise: nothing can be said",
}
"""Every verdict of a layer, in the order of the legend, and its meaning."""

_GROUPINGS = {
    "initialisation": (
        "Initialisation", "share their random start", "raw lora_A",
    ),
    "lineage": ("Lineage", "descend from one another", "weights or updates"),
}  # fmt: skip


def number(value: Any, /) -> str:
    """Return a number for a table, with three decimals where that will do.

    Examples
    --------
    >>> [number(value) for value in (0.04321, 0.00002, 48, None, "vacuous")]
    ['0.043', '2e-5', '48', '–', 'vacuous']
    """
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    if isinstance(value, int) or value == 0:
        return f"{value:,.0f}"
    if not 0.0005 <= abs(value) < 100_000:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    return f"{value:.3f}" if abs(value) < 100 else f"{value:,.1f}"


def headline(report: Report, /) -> tuple[str, str]:
    """Return the first clause of the finding as a sentence, and the rest."""
    first, _, rest = report["verdict"]["text"].partition("; ")
    if not rest:
        return first, ""
    return f"{first}.", f"{rest[:1].upper()}{rest[1:]}"


def counts(report: Report, /) -> tuple[tuple[str, int], ...]:
    """Return each verdict that occurs and its number of layers."""
    found = report["verdict"]["counts"]
    return tuple((name, found[name]) for name in VERDICTS if found.get(name))


def n_of(count: int, noun: str, /) -> str:
    """Return a count with its noun.

    Examples
    --------
    >>> n_of(1, "layer"), n_of(2, "layer")
    ('1 layer', '2 layers')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def grouping(report: Report, name: str, /) -> str:
    """Return what is known of groups, by ``initialisation`` or ``lineage``."""
    title, relation, compared = _GROUPINGS[name]
    found = at(report, "population", name)
    if not found:
        why = at(report, "population", f"{name}_reason") or "no such layer"
        return f"{title}: not compared, since {why}."
    several = _of_several(report, name)
    if several:
        largest = max(len(group) for group in several)
        n_members = sum(len(group) for group in several)
        finding = (
            f"{n_members} checkpoints {relation}, in"
            f" {n_of(len(several), 'group')} of at most {largest}"
        )
    else:
        finding = f"no two checkpoints {relation}"
    return f"{title}: {finding} ({_criterion(found, compared)})."


def _of_several(report: Report, name: str) -> list[list[str]]:
    """Return the groups that hold several members, copies not counted."""
    copies = {
        model["id"]
        for model in report["population"]["models"]
        if model["duplicate_of"] is not None
    }
    groups = at(report, "population", name, "groups") or ()
    apart = [[id_ for id_ in group if id_ not in copies] for group in groups]
    return [group for group in apart if len(group) > 1]


def _criterion(found: Mapping[str, Any], compared: str) -> str:
    if found.get("threshold") is None:
        reason = found.get("threshold_reason")
        return str(reason or f"by the cosine of {compared}")
    text = f"cosine of {compared} above {found['threshold']:.3g}"
    ends = found.get("stable_range")
    if not ends:
        return text
    return (
        f"{text}; the groups are the same for any threshold from"
        f" {ends[0]:.3g} to {ends[1]:.3g}"
    )


def caveats(report: Report, /) -> tuple[str, ...]:
    """Return what a reader must know before the numbers are used."""
    return (*_about_members(report), *_about_layers(report))


def _about_members(report: Report) -> Iterator[str]:
    population = report["population"]
    copies = population["n_models"] - population["n_unique"]
    if copies:
        yield (
            f"{n_of(copies, 'checkpoint')} repeated another one exactly;"
            " every layer counts equal members once."
        )
    if population["n_groups"] < 5:
        yield (
            "Fewer than five independent groups: held-out tests cannot tell"
            " sharing from chance here."
        )
    for name in _GROUPINGS:
        if _of_several(report, name):
            yield grouping(report, name)
    if report["quarantine"]:
        entries = len(report["quarantine"])
        yield (
            f"{entries} {'entry was' if entries == 1 else 'entries were'} set"
            " aside and counted nowhere; the reasons are listed."
        )
    if report.get("left_out"):
        yield (
            f"{len(report['left_out'])} sound checkpoints or layers were not"
            " analysed, since too few others share them."
        )


def _about_layers(report: Report) -> Iterator[str]:
    layers = report["layers"]
    if any(layer["kind"] == "dense" for layer in layers):
        yield (
            "Dense layers hold the members' common start: their cosines and"
            " their mean say nothing about learning. Only deviations from the"
            " mean are judged."
        )
    sides = [
        layer.get(f"{side}_side")
        for layer in layers
        for side in ("output", "input")
    ]
    if any(at(side, "verdict") is None for side in sides):
        yield (
            "A side has a verdict only where its null was drawn; elsewhere"
            " its overlap stands beside the chance level, which is no test."
        )
    yield (
        "Shared directions of weights are not yet shared function: nothing"
        " here evaluates what the checkpoints do."
    )
