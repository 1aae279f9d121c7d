"""One side of one layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from spectra.subspaces.result import LayerFit, SideFit

__all__ = ["SIDES", "Side", "sides_of"]

Name = Literal["output", "input"]

SIDES: tuple[Name, ...] = ("output", "input")


@dataclass(frozen=True, slots=True)
class Side:
    """The output or the input side of a layer.

    Attributes
    ----------
    order
        Positions of the layer's members in the order of their ids.
    """

    layer: LayerFit
    name: Name
    order: tuple[int, ...]

    @property
    def fit(self) -> SideFit:
        """Return what `fit` left of it."""
        return self.layer.output if self.name == "output" else self.layer.input

    @property
    def dimension(self) -> int:
        """Return the number of its dimensions."""
        return self.layer.shape[SIDES.index(self.name)]


def sides_of(layer: LayerFit, ids: Sequence[str], /) -> tuple[Side, ...]:
    """Return both sides of a layer, given the ids of the population."""
    members = layer.members
    order = sorted(range(len(members)), key=lambda i: ids[members[i]])
    return tuple(Side(layer, name, tuple(order)) for name in SIDES)
