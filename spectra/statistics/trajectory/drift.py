"""How a layer's leading directions turn from checkpoint to checkpoint."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectra.statistics.sides.side import Side

__all__ = ["Drift", "drift_of"]

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Drift:
    """One side of a layer's T checkpoints.

    Attributes
    ----------
    next, next_chance
        T - 1 overlaps of each with the next one, from 0 to 1, and what they
        would be of random directions; NaN where one has no direction.
    last, last_chance
        T overlaps of each with the last one, likewise.
    """

    next: Vector
    next_chance: Vector
    last: Vector
    last_chance: Vector

    @property
    def is_whole(self) -> bool:
        """Return whether directions fill the side: they cannot turn."""
        return bool(np.any(self.last_chance >= 1))

    @property
    def appears(self) -> int | None:
        """Return from where on the last directions are there.

        The place of the first checkpoint from which the overlap with the last
        one stays above half-way between chance and 1; None where that is the
        last one itself.
        """
        above = self.last > (1 + self.last_chance) / 2
        first = len(above) - 1
        while first and above[first - 1]:
            first -= 1
        return first if first < len(above) - 1 else None


def drift_of(side: Side, rows: Sequence[int], /) -> Drift:
    """Return how one side turns.

    Parameters
    ----------
    side
        Of a layer.
    rows
        The layer's row of each checkpoint, in their order.
    """
    place = np.array(rows)
    last = np.full_like(place, place[-1])
    return Drift(
        *_overlaps(side, place[:-1], place[1:]), *_overlaps(side, place, last)
    )


def _overlaps(
    side: Side, a: NDArray[np.int64], b: NDArray[np.int64]
) -> tuple[Vector, Vector]:
    """Return overlaps of pairs of rows, and those of random directions."""
    ranks = side.layer.ranks[a], side.layer.ranks[b]
    fewer, more = np.minimum(*ranks), np.maximum(*ranks)
    some = fewer > 0
    shares = np.full(len(a), np.nan)
    # Rounding may take it beyond what it can be.
    np.divide(side.fit.overlap[a, b], fewer, out=shares, where=some)
    shares = np.where(some & (a == b), 1.0, np.clip(shares, 0.0, 1.0))
    return shares, np.where(some, more / side.dimension, np.nan)
