"""Inner products of many maps, streamed in blocks of their entries."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.backend.device import Device, to_host
from spectra.backend.staging import staged
from spectra.backend.words import WORDS, can_widen, widened
from spectra.linalg.gram import BLOCK, accurate_gram
from spectra.subspaces.products import product_dtype
from spectra.weights.kept import KeptMaps

__all__ = ["InnerProducts", "inner_memory", "inner_products"]

Array = Any
Float = NDArray[np.float64]
Span = tuple[int, int]

_ENTRIES = 2**22
"""Entries of a block where members are many: 16 MiB in float32."""

_STRIPES = 4
"""Partial sums, each of every fourth block. As many whatever threads there
are, so that sums have the same bits."""


@dataclass(frozen=True, slots=True)
class InnerProducts:
    """Of y_i = x_i - r, with the rounded mean of the maps as r.

    Attributes
    ----------
    inner
        N x N: <y_i, y_j>.
    h
        N: <y_i, r>.
    energy
        <r, r>.
    """

    inner: Float
    h: Float
    energy: float


def _columns(n: int) -> int:
    """Return the columns of a block of n maps, a function of n alone."""
    return max(BLOCK // 8, min(BLOCK, _ENTRIES // n // 1024 * 1024))


def inner_memory(n: int, dtype: Any, /, *, threads: int = 1) -> int:
    """Return the bytes that `inner_products` takes beside the maps."""
    width = int(np.dtype(product_dtype(n, dtype)).itemsize)
    block = (n + 1) * _columns(n) * width
    return threads * (block + 24 * n * n) + _STRIPES * 8 * n * n


def inner_products(
    maps: KeptMaps,
    size: int,
    device: Device,
    dtype: Any,
    /,
    *,
    threads: int = 1,
) -> InnerProducts:
    """Return inner products of the differences of n maps from their mean.

    Parameters
    ----------
    maps
        Read from here, by one thread at a time.
    size
        Entries of each.
    device
        Where to multiply.
    dtype
        Of the blocks where members are many; sums are float64.
    threads
        Blocks at the same time, each with one thread of BLAS.

    Notes
    -----
    K does not depend on r. The mean makes y small: float32 subtraction of
    nearby values is exact, and unrelated members keep no common part.
    """
    n, step = len(maps), _columns(len(maps))
    spans = [(at, min(at + step, size)) for at in range(0, size, step)]
    kind = np.dtype(product_dtype(n, dtype)).name
    source = _Source.of(maps, device, kind)

    def stripe(first: int) -> Array:
        total = device.zeros((n + 1, n + 1))
        mine = spans[first::_STRIPES]
        if not mine:
            return total
        room = device.empty((n + 1, min(step, size)), kind)
        mean = device.xp.full(n, 1 / n, dtype=room.dtype, device=device.handle)
        for X in source.blocks(mine, room):
            members = X[:n, :]
            X[n, :] = mean @ members
            members -= X[n, :]
            total = total + accurate_gram(X)
        return total

    if threads == 1:
        sums = [stripe(first) for first in range(_STRIPES)]
    else:
        with ThreadPoolExecutor(threads) as pool:
            sums = list(pool.map(stripe, range(_STRIPES)))
    products = to_host(sum(sums[1:], start=sums[0]))
    return InnerProducts(
        products[:n, :n].copy(), products[:n, n].copy(), float(products[n, n])
    )


@dataclass(frozen=True, slots=True)
class _Source:
    """Maps, and how their entries get to a device.

    Attributes
    ----------
    sent
        NumPy's name for what a block is copied as.
    words
        The dtype of 16 bits that all are stored in, where they are sent so
        and widened on the device; None where that is done on the host.
    base
        On the device, where it is subtracted there.
    reading
        Held by the thread that reads.
    """

    maps: KeptMaps
    device: Device
    sent: str
    words: str | None = None
    base: Array | None = None
    reading: Lock = field(default_factory=Lock)

    @classmethod
    def of(cls, maps: KeptMaps, device: Device, kind: str, /) -> "_Source":
        """Return it for a device that multiplies numbers of that kind."""
        if device.is_host or not can_widen(device.zeros((0,))):
            return cls(maps, device, kind)
        (stored, *others) = maps.dtypes
        if others or stored not in WORDS:
            return cls(maps, device, kind)
        base = None if maps.base is None else device.put(maps.base)
        return cls(maps, device, "uint16", stored, base)

    def blocks(self, spans: Sequence[Span], room: Array, /) -> Iterator[Array]:
        """Yield leading columns of `room` (n + 1, step), n rows of them maps.

        Each is valid until the next is asked for.
        """
        if not self.device.is_host:
            yield from self._copied(spans, room)
            return
        for start, stop in spans:
            X = room[:, : stop - start]
            # One thread reads while others multiply: of many small readings
            # at once each would wait for the interpreter.
            with self.reading:
                self.maps.fill(start, stop, X[:-1])
            yield X

    def _copied(self, spans: Sequence[Span], room: Array) -> Iterator[Array]:
        shape = len(self.maps), room.shape[1]
        rooms = [self.device.empty(shape, self.sent) for _ in range(2)]
        copies = self.device.runtime.copies()
        fill = self.maps.fill_stored if self.words else self.maps.fill
        arriving = staged(copies, rooms, self.sent, spans, fill)
        for (start, stop), block in zip(spans, arriving, strict=True):
            X = room[:, : stop - start]
            members = X[:-1, :]
            members[...] = widened(block, self.words) if self.words else block
            if self.base is not None:
                members -= self.base[start:stop]
            yield X
