"""The greatest entries of each member: which magnitude is the least kept.

An adapter has more entries than fit the memory at once. They are counted by
the leading bits of their magnitudes, then those that share these by the next
bits, and so on: up to four passes over them, and the answer is exact.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BINS",
    "Blocks",
    "Counts",
    "Digits",
    "Vector",
    "counted",
    "least_kept",
    "trimmed",
]

Counts = NDArray[np.int64]
Vector = NDArray[np.float64]
Stack = NDArray[np.float64]

_BITS = 16
"""Of a float64 at a time: magnitudes of one bin differ by 3 per cent at most,
after two passes by 1e-6, after three by 1e-11."""

BINS = 1 << _BITS


@dataclass(frozen=True, slots=True)
class Digits:
    """What is known of the least magnitudes kept: their leading bits.

    Attributes
    ----------
    known
        Those bits, of each of N members, as whole numbers.
    shift
        How many bits are not known.
    """

    known: Counts
    shift: int

    @classmethod
    def unknown(cls, n: int, /) -> "Digits":
        """Return what is known before anything is counted."""
        return cls(np.zeros(n, np.int64), 64)

    def values(self) -> Vector:
        """Return the least magnitudes that begin so."""
        return (self.known << self.shift).view(np.float64)


class Blocks(Protocol):
    """Entries of N members, some of them at a time."""

    def __len__(self) -> int:
        """Return N."""

    def blocks(self) -> Iterator[tuple[slice, Stack]]:
        """Yield some of all, (N, ...), and which they are."""


def counted(entries: Blocks, digits: Digits, /) -> Counts:
    """Return how many entries have which next bits, (N, BINS).

    Parameters
    ----------
    entries
        Of N members.
    digits
        Of those alone whose magnitudes begin so.
    """
    found = np.zeros((len(entries), BINS), np.int64)
    for _, stack in entries.blocks():
        for i, bits in enumerate(np.abs(stack).view(np.int64)):
            flat = bits.ravel()
            if digits.shift < 64:
                flat = flat[flat >> digits.shift == digits.known[i]]
            next_ = flat >> (digits.shift - _BITS) & (BINS - 1)
            found[i] += np.bincount(next_, minlength=BINS)
    return found


def least_kept(
    count: Callable[[Digits], Counts], n: int, density: float, /
) -> Vector:
    """Return from which magnitude on entries of each member are kept, (N).

    That of the last one kept, or a bound between it and the next.

    Parameters
    ----------
    count
        As `counted`, of all entries of which a share is kept.
    n
        Members.
    density
        The share that is kept in each, to the nearest whole number and never
        none; more where magnitudes are equal. The code of Yadav et al. (2023)
        keeps one more than the share, rounded down.
    """
    digits = Digits.unknown(n)
    wanted: Counts | None = None
    while digits.shift:
        found = count(digits)
        if wanted is None:
            totals = found.sum(axis=1)
            wanted = np.maximum(1, np.rint(density * totals).astype(np.int64))
        # How many lie in a bin or above it.
        above = np.cumsum(found[:, ::-1], axis=1)[:, ::-1]
        bins = np.count_nonzero(above >= wanted[:, None], axis=1) - 1
        at = np.arange(n), bins
        is_exact = above[at] == wanted
        wanted = wanted - (above[at] - found[at])
        digits = Digits(digits.known << _BITS | bins, digits.shift - _BITS)
        if np.all(is_exact):
            break
    return digits.values()


def trimmed(stack: Stack, least: Vector, /) -> Stack:
    """Return members (N, ...) with all smaller entries zero.

    Parameters
    ----------
    stack
        The members.
    least
        The magnitude of each (N) below which they are.
    """
    shape = (-1, *[1] * (stack.ndim - 1))
    return np.where(np.abs(stack) >= least.reshape(shape), stack, 0.0)
