"""The trees of a population, one a lineage group, beside what cards claim."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from spectra.core.settings import OverlapSettings
from spectra.statistics.kinship.descent import (
    CERTAIN,
    Direction,
    direction,
    parents_of,
)
from spectra.statistics.kinship.groups import lineage
from spectra.statistics.kinship.near import Distances
from spectra.statistics.kinship.relations import relate, rows_of
from spectra.statistics.plain import with_reason
from spectra.subspaces.result import LayerFit, PopulationFit

__all__ = ["CLAIMS", "lineage_document"]

CLAIMS: Final = ("agrees", "contradicts", "outside", "silent")
"""What cards make of an edge. Its child's card names the parent; or another
member, or the parent's card names the child; or no member; or nothing."""

Document = dict[str, Any]
Parents = Sequence[int | None]
Vector = NDArray[np.float64]

_NO_KURTOSIS = (
    "there is no layer of whole weights that moved: the kurtosis of updates"
    " tells no direction"
)
_NO_NORM = "the child is zero in all layers that both have"


def lineage_document(
    fit: PopulationFit, settings: OverlapSettings, /
) -> Document:
    """Return the trees of a population.

    Parameters
    ----------
    fit
        The fit.
    settings
        From which cosine on two members are related.

    Notes
    -----
    A tree spans the members that are there: of siblings whose parent is not,
    one is drawn as the parent of the others.
    """
    ids = [member.id for member in fit.models]
    traits = _Traits(len(ids))
    relations = relate(traits.watch(fit.layers), len(ids), ())
    cards = _Cards(
        ids, [member.base_claim for member in fit.models], relations.twins
    )
    labels = lineage(relations, settings).labels
    groups: dict[int, list[int]] = {}
    # By name, so that the order of the population decides no tie.
    for i in sorted(range(len(ids)), key=ids.__getitem__):
        label = labels[i]
        if label is not None and i not in relations.twins:
            groups.setdefault(label, []).append(i)
    copies = [
        {"id": ids[copy], "of": ids[original]}
        for copy, original in relations.twins.items()
    ]
    document: Document = {
        "groups": [
            _group(members, traits, cards)
            for members in groups.values()
            if len(members) > 1
        ],
        "alone": [
            ids[members[0]] for members in groups.values() if members[1:] == []
        ],
        "copies": sorted(copies, key=lambda copy: copy["id"]),
        "identical_everywhere": _identical_everywhere(fit),
    }
    return document | {"text": _text(document)}


@dataclass(slots=True)
class _Traits:
    """What is compared of M members, layer by layer.

    Attributes
    ----------
    names
        Of the layers.
    rows
        M numbers a layer: the row that speaks for a member, -1 for none.
        Two that one row speaks for are byte-identical.
    kurtosis
        M values a layer, NaN where they are not known.
    square
        Whether each layer has as many outputs as inputs.
    sizes
        M x M: entries of the layers that two have.
    """

    n: int
    names: list[str] = field(default_factory=list)
    rows: list[NDArray[np.int64]] = field(default_factory=list)
    kurtosis: list[Vector] = field(default_factory=list)
    square: list[bool] = field(default_factory=list)
    distances: Distances = field(init=False)
    sizes: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        self.distances = Distances(self.n)
        self.sizes = np.zeros((self.n, self.n))

    def watch(self, layers: Iterable[LayerFit]) -> Iterator[LayerFit]:
        """Take in each layer on its way to whoever asked for it."""
        for layer in layers:
            rows = rows_of(layer)
            members, at = list(rows), list(rows.values())
            spoken, kurtosis = np.full(self.n, -1), np.full(self.n, np.nan)
            spoken[members] = at
            if layer.weights is not None and layer.kind != "low-rank":
                kurtosis[members] = layer.weights.kurtosis[at]
            self.names.append(layer.name)
            self.rows.append(spoken)
            self.kurtosis.append(kurtosis)
            self.square.append(layer.shape[0] == layer.shape[1])
            self.distances.add(layer, rows)
            self.sizes[np.ix_(members, members)] += np.prod(layer.shape)
            yield layer

    def tree(self, members: Sequence[int]) -> Parents:
        """Return each one's parent, as a place among the members."""
        where = np.ix_(members, members)
        squares, sizes = self.distances.squares[where], self.sizes[where]
        # Of an entry: some pairs have fewer layers in which to differ.
        mean = np.full(squares.shape, np.inf)
        np.divide(squares + squares.T, 2 * sizes, out=mean, where=sizes > 0)
        kurtosis = np.array([layer[members] for layer in self.kurtosis])
        return parents_of(np.sqrt(mean), kurtosis.T, np.array(self.square))

    def direction(self, parent: int, child: int) -> Direction:
        """Return how kurtosis changes from one member to another."""
        pair = np.array([layer[[parent, child]] for layer in self.kurtosis])
        return direction(pair[:, 0], pair[:, 1], np.array(self.square))

    def shared(self, i: int, j: int) -> tuple[list[str], int]:
        """Return the layers in which two are equal; how many both have."""
        both = [
            (name, rows[i] == rows[j])
            for name, rows in zip(self.names, self.rows, strict=True)
            if rows[i] >= 0 and rows[j] >= 0
        ]
        return [name for name, equal in both if equal], len(both)


@dataclass(frozen=True, slots=True)
class _Cards:
    """What the cards of members say.

    Attributes
    ----------
    claims
        For each member the base that its card names.
    originals
        For each copy the member that it equals.
    """

    ids: Sequence[str]
    claims: Sequence[str | None]
    originals: Mapping[int, int]

    def judge(self, parent: int, child: int) -> str:
        """Return what the cards make of an edge, one of `CLAIMS`."""
        named = self._named(child)
        if parent in named:
            return "agrees"
        if named or child in self._named(parent):
            return "contradicts"
        base = self.claims[child]
        told = base is not None and not _is_named(base, self.ids[child])
        return "outside" if told else "silent"

    def _named(self, member: int) -> set[int]:
        """Return the other members that a card names, originals of copies."""
        base = self.claims[member]
        found = {
            self.originals.get(i, i)
            for i, name in enumerate(self.ids)
            if base is not None and _is_named(base, name)
        }
        return found - {member}


def _is_named(base: str, name: str) -> bool:
    """Return whether a claim is of a member, or of the whole it is part of.

    Members are called ``org/name@commit/part`` on a hub, and by their last
    folders elsewhere.
    """
    plain = re.sub("@[0-9a-f]{7,40}", "", name)
    return f"/{base}/" in f"/{plain}/" or base.endswith(f"/{plain}")


def _group(members: Sequence[int], traits: _Traits, cards: _Cards) -> Document:
    parents = traits.tree(members)
    edges = [
        _edge(members[parent], child, traits, cards)
        for parent, child in zip(parents, members, strict=True)
        if parent is not None
    ]
    root = cards.ids[members[parents.index(None)]]
    return {
        "members": [cards.ids[i] for i in members],
        "edges": edges,
        "root": root,
        # Another root would turn round an edge at this one.
        "root_certain": all(
            edge["certain"] for edge in edges if edge["parent"] == root
        ),
        "claims": {
            cards.ids[i]: cards.claims[i]
            for i in members
            if cards.claims[i] is not None
        },
    }


def _edge(parent: int, child: int, traits: _Traits, cards: _Cards) -> Document:
    distance = float(traits.distances.squares[child, parent] ** 0.5)
    norm = float(traits.distances.energies[child, parent] ** 0.5)
    move = distance / norm if norm else None
    identical, n_shared = traits.shared(parent, child)
    found = traits.direction(parent, child)
    change = found.difference if found.n else None
    document: Document = {
        "parent": cards.ids[parent],
        "child": cards.ids[child],
        "distance": distance,
        **with_reason("relative_move", move, _NO_NORM),
        "identical_layers": identical,
        "n_moved": n_shared - len(identical),
        "certain": found.certain,
        "n_told": found.n,
        "n_falls": found.n_falls,
        **with_reason("kurtosis_difference", change, _NO_KURTOSIS),
        **with_reason("p", found.p, _NO_KURTOSIS),
        "claim": cards.judge(parent, child),
    }
    if not found.certain:
        document["reason"] = _uncertain(found)
    return document


def _uncertain(found: Direction) -> str:
    if found.p is None:
        return _NO_KURTOSIS
    return (
        f"kurtosis falls in {found.n_falls} of {found.n} layers (p"
        f" {found.p:.2g} of the sign test, threshold {CERTAIN:g})"
    )


def _identical_everywhere(fit: PopulationFit) -> list[str]:
    """Return layers that were left out: all who hold one hold the same."""
    faulty = {entry.layer for entry in fit.quarantine}
    return [
        entry.layer
        for entry in fit.left_out
        if entry.code == "TOO_FEW_MEMBERS"
        and entry.layer is not None
        and entry.layer not in faulty
    ]


def _text(document: Document) -> str:
    groups = document["groups"]
    edges = [edge for group in groups for edge in group["edges"]]
    said = Counter(edge["claim"] for edge in edges)
    n_related = sum(len(group["members"]) for group in groups)
    n_copies = _counted(len(document["copies"]), "exact copy", "exact copies")
    parts = [
        f"{_counted(len(groups), 'tree')} of {n_related} members",
        f"{len(document['alone'])} alone",
        n_copies,
    ]
    if edges:
        certain = sum(edge["certain"] for edge in edges)
        parts.append(
            f"kurtosis tells the direction of {certain} of"
            f" {_counted(len(edges), 'edge')}"
        )
        parts.append(
            "cards: "
            + ", ".join(
                f"{word} {said[word]}" for word in CLAIMS if said[word]
            )
        )
    if document["identical_everywhere"]:
        n = _counted(len(document["identical_everywhere"]), "layer")
        parts.append(f"{n} not compared: identical in all who hold them")
    return "; ".join(parts)


def _counted(n: int, noun: str, plural: str = "") -> str:
    return f"{n} {noun if n == 1 else plural or noun + 's'}"
