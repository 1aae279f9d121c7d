"""The entries of several maps of one shape, a few rows at a time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spectra.apply.merging.core_space import CoreSpace
from spectra.apply.merging.framed import Framed

__all__ = ["BLOCK", "Entries", "Space", "entries_of"]

Matrix = NDArray[np.float64]
Stack = NDArray[np.float64]

Space = Literal["core", "dense"]
"""Entries of the cores, or of the updates themselves, (out, in)."""

BLOCK = 2**24
"""Bytes of all members' rows that are formed at once: 512 rows of eight maps
with 512 columns, and within a processor's cache or near."""


@dataclass(frozen=True, slots=True)
class Entries:
    r"""N maps :math:`L_i R_i^T` of few directions each.

    Attributes
    ----------
    lefts
        The L, (rows, r_i).
    rights
        The R, (columns, r_i).
    framed
        Makes a layer's map of what (rows, columns) they are merged to.
    """

    lefts: tuple[Matrix, ...]
    rights: tuple[Matrix, ...]
    framed: Callable[[Matrix], Framed]

    def __len__(self) -> int:
        """Return N."""
        return len(self.lefts)

    @property
    def shape(self) -> tuple[int, int]:
        """Return that of each, (rows, columns)."""
        return len(self.lefts[0]), len(self.rights[0])

    def blocks(self) -> Iterator[tuple[slice, Stack]]:
        """Yield some rows of all, (N, some, columns), and which they are.

        The same bits whenever they are asked for.
        """
        rows, columns = self.shape
        step = max(1, BLOCK // (8 * len(self) * columns))
        for start in range(0, rows, step):
            these = slice(start, min(start + step, rows))
            yield (
                these,
                np.stack(
                    [
                        left[these] @ right.T
                        for left, right in zip(
                            self.lefts, self.rights, strict=True
                        )
                    ]
                ),
            )

    def merged(self, merge: Callable[[Stack], Matrix], /) -> Framed:
        """Return the map that blocks (N, some, columns) are merged to."""
        whole = np.empty(self.shape)
        for these, stack in self.blocks():
            whole[these] = merge(stack)
        return self.framed(whole)


def entries_of(updates: CoreSpace, /, *, space: Space) -> Entries:
    """Return the entries of the cores, or of the updates themselves."""
    lefts = tuple(part.left for part in updates.parts)
    rights = tuple(part.V for part in updates.parts)
    if space == "core":
        return Entries(lefts, rights, updates.framed)
    return Entries(
        tuple(updates.U @ left for left in lefts),
        tuple(updates.V @ right for right in rights),
        lambda whole: Framed(None, whole, None),
    )
