"""Findings by member and layer: all are counted, the first are listed."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from spectra.subspaces.result import LayerFit

__all__ = ["MEMBERS", "Listing"]

Document = dict[str, Any]

MEMBERS: Final = 100
"""Members that a list names."""

_LAYERS: Final = 8


@dataclass(slots=True)
class Listing:
    """Layers in which something was found, by member.

    Attributes
    ----------
    counts
        Layers of each member.
    layers
        The first of them.
    """

    counts: Counter[int] = field(default_factory=Counter)
    layers: dict[int, list[Document]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def add(self, member: int, layer: LayerFit, /, **found: Any) -> None:
        """Take in one finding.

        Parameters
        ----------
        member
            Index into the population.
        layer
            Where.
        found
            What the report says of it.
        """
        self.counts[member] += 1
        if self.counts[member] <= _LAYERS:
            self.layers[member].append(
                {"name": layer.name, "shape": list(layer.shape), **found}
            )

    def document(self, ids: Sequence[str], /) -> Document:
        """Return the members, in the order of their ids."""
        order = sorted(self.counts, key=lambda i: ids[i])
        return {
            "n": len(order),
            "members": [
                {
                    "id": ids[i],
                    "n_found": self.counts[i],
                    "layers": self.layers[i],
                }
                for i in order[:MEMBERS]
            ],
        }
