r"""Units of two networks that answer to the same items alike.

Rosetta neurons (Dravid et al. 2023): a unit of one network and one of another
that are each other's nearest by the correlation of their activations. Nearest
there always is one; so a pair counts where its correlation is higher than any
of permuted items is likely to be.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.align.representations.asked import Order

__all__ = ["Mutual", "Units", "best_correlation", "mutual", "units"]

Array = NDArray[Any]
Vector = NDArray[np.float64]

_BLOCK = 2**26
"""Bytes of correlations that are held at once."""


@dataclass(frozen=True, slots=True)
class Units:
    """Activations of a layer's units, each of mean 0 and length 1.

    Attributes
    ----------
    Z
        (n, units); a unit that is the same for all items is zero, and has
        correlation 0 with all others.
    """

    Z: Array


@dataclass(frozen=True, slots=True)
class Mutual:
    """Units that are each other's nearest.

    Attributes
    ----------
    a, b
        Places of the units, by descending correlation.
    r
        Their Pearson correlations.
    """

    a: NDArray[np.intp]
    b: NDArray[np.intp]
    r: Vector


def units(X: Array, /) -> Units:
    """Return the units of features (n, width)."""
    away = X - X.mean(axis=0, dtype=np.float64)
    lengths = np.linalg.norm(away, axis=0)
    sizes = np.abs(X).max(axis=0) * np.sqrt(len(X))
    moves = lengths > 16 * np.finfo(X.dtype).eps * sizes
    away *= np.where(moves, 1 / np.where(moves, lengths, 1.0), 0.0)
    return Units(away.astype(X.dtype))


def mutual(a: Units, b: Units, /) -> Mutual:
    """Return the units of a and b that are each other's nearest."""
    here, r = _nearest(a.Z, b.Z)
    there, _ = _nearest(b.Z, a.Z)
    own = np.flatnonzero((there[here] == np.arange(len(here))) & (r > 0))
    own = own[np.argsort(-r[own], kind="stable")]
    return Mutual(own, here[own], r[own].astype(np.float64))


def best_correlation(a: Units, b: Units, order: Order, /) -> float:
    """Return the highest correlation of any two units.

    Parameters
    ----------
    a, b
        Of the same items.
    order
        Of b's.
    """
    moved = b.Z[order]
    return max(float(block.max()) for _, block in _blocks(a.Z, moved))


def _nearest(A: Array, B: Array) -> tuple[NDArray[np.intp], Array]:
    """Return each column's nearest in B, the first of equals, and how near."""
    found = [
        (block.argmax(axis=1), block.max(axis=1)) for _, block in _blocks(A, B)
    ]
    places, values = zip(*found, strict=True)
    return np.concatenate(places), np.concatenate(values)


def _blocks(A: Array, B: Array) -> Iterator[tuple[slice, Array]]:
    step = max(1, _BLOCK // (A.itemsize * B.shape[1]))
    for start in range(0, A.shape[1], step):
        these = slice(start, start + step)
        yield these, A[:, these].T @ B
