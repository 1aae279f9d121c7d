"""Members that look as if nobody had trained them, and those that hardly are.

One layer that looks random may have been frozen, or may have no influence on
the loss; a member all of whose layers do was made by a loader.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from spectra.statistics.audit.fresh import (
    EXACT,
    TELLING,
    TESTED,
    edge,
    fresh,
    starts,
)
from spectra.statistics.audit.listing import MEMBERS, Listing
from spectra.statistics.plain import number, with_reason
from spectra.subspaces.result import LayerFit, WeightStats

__all__ = ["FreshLayers", "NearStarts"]

Document = dict[str, Any]
Rows = Mapping[int, int]
Ids = Sequence[str]

_BASE = "the base was subtracted: only of the difference is it known"


@dataclass(slots=True)
class FreshLayers:
    """Layers that look freshly initialised, by member.

    Attributes
    ----------
    tested, seen
        How many layers of each member were looked at, and look so.
    evidence
        Entries of the latter together.
    listing
        Those that have enough entries to speak for themselves.
    """

    tested: Counter[int] = field(default_factory=Counter)
    seen: Counter[int] = field(default_factory=Counter)
    evidence: Counter[int] = field(default_factory=Counter)
    listing: Listing = field(default_factory=Listing)

    def add(self, layer: LayerFit, rows: Rows, /) -> None:
        """Take in one more layer.

        Parameters
        ----------
        layer
            One layer of a fit.
        rows
            The row that speaks for each member.
        """
        stats = layer.weights
        if stats is None:
            return
        why, size = fresh(layer, stats), layer.shape[0] * layer.shape[1]
        told = size >= TESTED or layer.kind == "low-rank"
        shown = _shown(layer, stats)
        for member, row in rows.items():
            reason, exact = why[row], why[row] in EXACT
            self.tested[member] += told or exact
            if reason is None or not (told or exact):
                continue
            self.seen[member] += 1
            self.evidence[member] += TELLING if exact else size
            if exact:
                self.listing.add(member, layer, why=reason)
            elif size >= TELLING:
                self.listing.add(member, layer, why=reason, **shown[row])

    def document(self, ids: Ids, /) -> Document | None:
        """Return the members, untrained ones first; None for no test."""
        if not self.tested:
            return None
        untrained = {
            i
            for i, count in self.tested.items()
            if self.seen[i] == count and self.evidence[i] >= TELLING
        }
        order = sorted(
            untrained | self.listing.counts.keys(),
            key=lambda i: (i not in untrained, ids[i]),
        )
        return {
            "n": len(order),
            "n_untrained": len(untrained),
            "members": [
                {
                    "id": ids[i],
                    "untrained": i in untrained,
                    "n_layers": self.tested[i],
                    "n_found": self.seen[i],
                    "layers": self.listing.layers.get(i, []),
                }
                for i in order[:MEMBERS]
            ],
        }


def _shown(layer: LayerFit, stats: WeightStats) -> list[Document]:
    known = layer.kind == "dense"
    edges = edge(layer, stats) if known else np.full(len(stats.std), np.nan)
    return [
        {
            "kurtosis": number(kurtosis),
            "std": number(std),
            **with_reason("edge", number(distance), _BASE),
        }
        for kurtosis, std, distance in zip(
            stats.kurtosis, stats.std, edges, strict=True
        )
    ]


@dataclass(slots=True)
class NearStarts:
    """Layers whose factor A is, or is near, what it started from.

    Attributes
    ----------
    tested, untouched
        How many layers of each member have factors, and have an A in which
        nothing was learned.
    moved
        How far A is from its start, of each layer in which it is near.
    """

    tested: Counter[int] = field(default_factory=Counter)
    untouched: Counter[int] = field(default_factory=Counter)
    moved: dict[int, list[float]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def add(self, layer: LayerFit, rows: Rows, /) -> None:
        """Take in one more layer.

        Parameters
        ----------
        layer
            One layer of a fit.
        rows
            The row that speaks for each member.
        """
        if layer.weights is None or layer.kind != "low-rank":
            return
        found = starts(layer, layer.weights)
        moved = np.where(found.untouched, 0.0, found.moved)
        for member, row in rows.items():
            self.tested[member] += 1
            self.untouched[member] += bool(found.untouched[row])
            if not np.isnan(moved[row]):
                self.moved[member].append(float(moved[row]))

    def document(self, ids: Ids, /) -> Document | None:
        """Return the members in the order of their ids; None for no test."""
        if not self.tested:
            return None
        order = sorted(self.moved, key=lambda i: ids[i])
        return {
            "n": len(order),
            "members": [
                {
                    "id": ids[i],
                    "n_layers": self.tested[i],
                    "n_found": len(self.moved[i]),
                    "n_untouched": self.untouched[i],
                    "moved": float(np.median(self.moved[i])),
                }
                for i in order[:MEMBERS]
            ],
        }
