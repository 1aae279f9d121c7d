"""Inner products of many maps, streamed in blocks of their entries."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.backend.device import Device, to_host
from spectra.linalg.gram import BLOCK, accurate_gram
from spectra.subspaces.products import product_dtype

__all__ = ["InnerProducts", "inner_memory", "inner_products"]

Float = NDArray[np.float64]
Fill = Callable[[int, int, int, NDArray[Any]], None]
"""Writes entries ``[start, stop)`` of a map into an array of that length."""

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
    fill: Fill,
    n: int,
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
    fill
        Reads the maps. Threads never ask it for the same entries.
    n, size
        How many maps, of how many entries each.
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
    step = _columns(n)
    starts = range(0, size, step)
    kind = product_dtype(n, dtype)

    def stripe(first: int) -> Any:
        total = device.zeros((n + 1, n + 1))
        buffer = np.empty((n + 1, step), kind)
        mean = np.full(n, 1 / n, kind)
        for start in starts[first::_STRIPES]:
            stop = min(start + step, size)
            X = buffer[:, : stop - start]
            for row in range(n):
                fill(row, start, stop, X[row])
            np.dot(mean, X[:n], out=X[n])
            X[:n] -= X[n]
            total = total + accurate_gram(device.put(X))
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
