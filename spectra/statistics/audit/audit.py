"""What must be known of a population before any spectrum is believed.

Each part takes in one layer after another and says at the end what it found.
Lists are cut, their lengths are not.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from spectra.statistics.audit.listing import MEMBERS, Listing
from spectra.statistics.audit.untrained import FreshLayers, NearStarts
from spectra.statistics.kinship.near import Distances, near_duplicates
from spectra.statistics.kinship.relations import Relations, rows_of
from spectra.statistics.plain import number, with_reason
from spectra.subspaces.result import LayerFit, PopulationFit

__all__ = ["OUTLYING", "audit_document"]

Document = dict[str, Any]
Rows = Mapping[int, int]
Ids = Sequence[str]

OUTLYING: Final = 10.0
"""So many times a layer's median norm, or less than one part in so many, and
a member is out of scale."""

_NO_ENTRIES = "the run says nothing of the entries of weights; fit it again"
_NO_FACTORS = "no layer has factors to look at"


def audit_document(fit: PopulationFit, relations: Relations, /) -> Document:
    """Return ``audit`` of report.json.

    Parameters
    ----------
    fit
        The fit.
    relations
        What its members have in common.
    """
    ids = tuple(member.id for member in fit.models)
    updates, weights = Distances(len(ids)), Distances(len(ids))
    fresh, starts, scale, tied = FreshLayers(), NearStarts(), _Scale(), _Tied()
    for layer in fit.layers:
        rows = rows_of(layer)
        distances = weights if layer.kind == "dense" else updates
        for part in (distances, fresh, starts, scale, tied):
            part.add(layer, rows)
    return {
        "near_duplicates": near_duplicates(relations, updates, weights, ids),
        **with_reason("fresh", fresh.document(ids), _NO_ENTRIES),
        **with_reason("starts", starts.document(ids), _NO_FACTORS),
        "scale": scale.document(ids),
        "tied": tied.document(ids),
    }


@dataclass(slots=True)
class _Scale:
    """Maps of another order of magnitude than those of other members."""

    outlying: Listing = field(default_factory=Listing)
    zero: Listing = field(default_factory=Listing)
    constant: Listing = field(default_factory=Listing)

    def add(self, layer: LayerFit, rows: Rows, /) -> None:
        norms = np.sqrt(np.maximum(0.0, np.diagonal(layer.gram)))
        zero, flat = _zero(layer), _constant(layer)
        some = norms[~zero]
        # Of two that differ, neither is the odd one.
        ratios = norms / np.median(some) if some.size > 2 else zero + 1.0
        for member, row in rows.items():
            ratio = ratios[row]
            if zero[row]:
                self.zero.add(member, layer)
            elif not 1 / OUTLYING <= ratio <= OUTLYING:
                self.outlying.add(member, layer, ratio=number(ratio))
            if flat[row]:
                self.constant.add(member, layer)

    def document(self, ids: Ids, /) -> Document:
        return {
            "outlying": self.outlying.document(ids),
            "zero": self.zero.document(ids),
            "constant": self.constant.document(ids),
        }


def _zero(layer: LayerFit) -> Any:
    """Return where a map is exactly zero: its Gram entry may be rounded."""
    return layer.singular_values[:, 0] == 0


def _constant(layer: LayerFit) -> Any:
    """Return where all entries of a weight are one number, not zero."""
    stats = layer.weights
    if stats is None or layer.kind == "low-rank":
        return np.zeros(len(layer.members), bool)
    return np.isnan(stats.kurtosis) & (stats.zeros < 1)


@dataclass(slots=True)
class _Tied:
    """Layers of one member that are the same bytes.

    The hash of a layer's bytes is also of their dtype and of which way round
    they are stored, so that a transposed copy is another one.
    """

    names: dict[tuple[int, str, tuple[int, int]], list[str]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def add(self, layer: LayerFit, rows: Rows, /) -> None:
        if not layer.digests:
            return
        # Two layers of zeros are not tied.
        plain = _zero(layer) | _constant(layer)
        for member, row in rows.items():
            if not plain[row]:
                key = member, layer.digests[row], layer.shape
                self.names[key].append(layer.name)

    def document(self, ids: Ids, /) -> list[Document]:
        found: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for (member, _, _), names in self.names.items():
            if len(names) > 1:
                found[tuple(sorted(names))].append(ids[member])
        return [
            {
                "layers": list(names),
                "n": len(members),
                "members": sorted(members)[:MEMBERS],
            }
            for names, members in sorted(found.items())
        ]
