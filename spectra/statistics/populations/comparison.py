"""The comparison of two populations as a document, layer by layer."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from spectra.core.events import Observer
from spectra.core.provenance import version
from spectra.core.settings import OverlapSettings, as_json
from spectra.core.text import printable
from spectra.statistics.each_layer import check, each_layer
from spectra.statistics.kinship.groups import start_thresholds
from spectra.statistics.kinship.population import groupings_of
from spectra.statistics.kinship.relations import relate
from spectra.statistics.plain import percent, with_reason
from spectra.statistics.populations.between import Pairs
from spectra.statistics.populations.document import WAYS, compared_document
from spectra.statistics.populations.layer import (
    Compared,
    Populations,
    compare_layer,
    populations_of,
)
from spectra.statistics.populations.likeness import MEANINGS, likeness
from spectra.statistics.selection import chosen
from spectra.subspaces.result import LayerFit, PopulationFit

__all__ = ["SCHEMA", "compare", "pairs_document"]

SCHEMA = "spectra-comparison/1"

Document = dict[str, Any]


def compare(
    fit: PopulationFit,
    a: Collection[int],
    b: Collection[int],
    settings: OverlapSettings,
    /,
    *,
    names: tuple[str, str] = ("A", "B"),
    on_event: Observer | None = None,
) -> Document:
    """Return how two populations of one fit compare.

    Parameters
    ----------
    fit
        With the members of both.
    a, b
        Indices of their members; none is in both.
    settings
        Levels, draws, resamples, seed and thresholds. Groups, where given,
        stand for lineage.
    names
        What the populations are called.
    on_event
        Told after each layer.

    Raises
    ------
    UsageError
        When a setting is out of range, or a member's group is missing.
    """
    check(settings)
    relations = relate(fit.layers, len(fit.models), start_thresholds(settings))
    groupings = groupings_of(fit.models, relations, settings)
    populations = populations_of(groupings, a, b, names=names)

    part = chosen(fit, settings)

    def one(layer: LayerFit) -> tuple[Document, Compared]:
        return _named(layer), compare_layer(layer, populations, settings)

    found, lost = each_layer(part, one, stage="compare", on_event=on_event)
    named = [name for name, _ in found]
    layers = _judged([compared for _, compared in found], settings)
    described = _described(populations)
    verdict = _verdict(described, [name["name"] for name in named], layers)
    return {
        "schema": SCHEMA,
        "version": version(),
        "settings": {
            "fit": dict(fit.settings), "compare": as_json(settings),
        },
        "environment": dict(fit.environment),
        "populations": described,
        "layers": [
            {**name, **layer}
            for name, layer in zip(named, layers, strict=True)
        ],
        "verdict": verdict,
        "quarantine": [asdict(entry) for entry in (*fit.quarantine, *lost)],
    }  # fmt: skip


def pairs_document(
    pairs: Pairs,
    names: Sequence[str],
    compared: Sequence[Sequence[Compared]],
    settings: OverlapSettings,
    /,
) -> tuple[Document, list[list[Document]]]:
    """Return what is said of pairs of populations, and of each in each layer.

    p is adjusted for the layers and levels of a pair, not for other pairs.

    Parameters
    ----------
    pairs
        Who is compared.
    names
        Of the layers.
    compared
        What each layer shows of each pair.
    settings
        Levels and thresholds.
    """
    said: list[Document] = []
    in_layer: list[list[Document]] = [[] for _ in names]
    for place, pair in enumerate(pairs.pairs):
        layers = _judged([found[place] for found in compared], settings)
        described = _described(pair)
        verdict = _verdict(described, names, layers)
        said.append({**described, "verdict": verdict})
        for documents, layer in zip(in_layer, layers, strict=True):
            documents.append({"names": list(pair.names), **layer})
    few = (
        "fewer than two of the groups given have"
        f" {settings.fewest_groups} independent members"
    )
    left_out = {"left_out": list(pairs.left_out)}
    return {**with_reason("pairs", said or None, few), **left_out}, in_layer


def _judged(
    compared: Sequence[Compared], settings: OverlapSettings
) -> list[Document]:
    words = likeness(compared, settings)
    return [
        compared_document(found, word, settings)
        for found, word in zip(compared, words, strict=True)
    ]


def _named(layer: LayerFit) -> Document:
    return {
        "name": layer.name,
        "architecture": layer.architecture,
        "kind": layer.kind,
        "shape": list(layer.shape),
    }


def _described(populations: Populations) -> Document:
    ids, across, described = populations.ids, populations.across, []
    for part, name in enumerate(populations.names):
        members = populations.members(part)
        kept = [i for i in members if i not in across]
        described.append(
            {
                "name": name,
                "n_models": len(members),
                "n_compared": len(kept),
                "n_groups": populations.n_groups(kept),
                "models": [ids[i] for i in members],
            }
        )
    return {
        "members": described,
        "n_across": len(across),
        "across": [ids[i] for i in sorted(across)],
    }


def _verdict(
    populations: Document, names: Sequence[str], layers: Sequence[Document]
) -> Document:
    words = [layer["verdict"] for layer in layers]
    counts = {word: words.count(word) for word in MEANINGS if word in words}
    return {
        "counts": counts,
        "text": _text(populations, counts, names, layers),
    }


def _text(
    populations: Document,
    counts: Mapping[str, int],
    names: Sequence[str],
    layers: Sequence[Document],
) -> str:
    who = " against ".join(
        f"{_n(one['n_compared'], 'model')} of {printable(one['name'])} in"
        f" {_n(one['n_groups'], 'independent group')}"
        for one in populations["members"]
    )
    found = ", ".join(f"{n} {word}" for word, n in counts.items())
    clauses = [f"{who}: {_n(len(layers), 'layer')}, {found}"]
    across = populations["n_across"]
    if across:
        clauses.append(
            f"{_n(across, 'model')} left out, related to one of the other"
            " population or begun from the same random start"
        )
    judged = [
        (name, layer)
        for name, layer in zip(names, layers, strict=True)
        if layer["k"]
    ]
    if judged:
        name, best = max(judged, key=lambda found: _least(found[1]))
        k = str(best["k"])
        shares = " and ".join(
            f"{percent(best[way]['captured'][k])} (random"
            f" {percent(best[way]['captured_random'][k])})"
            for way in WAYS
        )
        clauses.append(
            f"at best, in {printable(name)},"
            f" {_n(int(k), 'direction')} of each held {shares} of the"
            " other's deviations"
        )
    return "; ".join(clauses) + "."


def _least(layer: Document) -> float:
    k = str(layer["k"])
    lows: list[float] = [layer[way]["effect"][k]["low"] for way in WAYS]
    return min(lows)


def _n(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
