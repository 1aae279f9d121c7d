"""Arrays of a file, read by blocks of rows, and the layers in them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.core.errors import UsageError
from spectra.core.text import natural, printable
from spectra.weights.limits import limits_of_environment
from spectra.weights.soundness import fault_in

__all__ = ["Layer", "Stored", "layers_of", "refused", "rows_at_once"]

Array = NDArray[Any]

_BLOCK = 2**24


@dataclass(frozen=True, slots=True)
class Stored:
    """An array of a file, of which nothing but the shape was read.

    Attributes
    ----------
    name
        In the file; "" where the file is the array.
    dtype
        As the file has it, for messages.
    width
        Bytes of one number.
    is_real
        Whether its numbers are floats that are read here.
    blocks
        Gives all rows, by blocks.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    width: int
    is_real: bool
    blocks: Callable[[], Iterator[Array]]


@dataclass(frozen=True, slots=True)
class Layer:
    """Features of all items by one layer.

    Attributes
    ----------
    name
        The array's, and the layer's number where an array holds several.
    n_items, width
        Their shape.
    read
        Gives them (n_items, width), in float32; float64 where the file's are.
    """

    name: str
    n_items: int
    width: int
    read: Callable[[], Array]


def layers_of(path: str, arrays: list[Stored], /) -> tuple[Layer, ...]:
    """Return the layers of a file, in the natural order of their names.

    An array (items, width) is one, an array (items, layers, width) several.

    Raises
    ------
    UsageError
        E_FEATURES where an array is none of them, or has another number of
        items than the first.
    """
    if not arrays:
        raise refused(path, "holds no array")
    for array in arrays:
        _check(path, array)
    arrays = sorted(arrays, key=lambda array: natural(array.name))
    first = arrays[0]
    for array in arrays:
        if array.shape[0] != first.shape[0]:
            raise refused(
                path,
                f"has {array.shape[0]} rows in {_named(array)}, and"
                f" {first.shape[0]} in {_named(first)}",
                advice="rows are items, the same in all layers",
            )
    return tuple(layer for array in arrays for layer in _layers(path, array))


def refused(path: str, what: str, /, *, advice: str = "") -> UsageError:
    """Return the error of a file that holds no features."""
    return UsageError(
        "E_FEATURES",
        f"{printable(path)} {what}",
        advice=advice or "features are 2-D or 3-D arrays of floats",
    )


def rows_at_once(row_nbytes: int, /) -> int:
    """Return how many rows are worth reading at a time."""
    return max(1, _BLOCK // max(1, row_nbytes))


def _check(path: str, array: Stored) -> None:
    if array.is_real is False:
        raise refused(
            path,
            f"has {array.dtype} in {_named(array)}",
            advice="features are floats; write them as float32, and leave out"
            " what is none",
        )
    if len(array.shape) not in {2, 3} or 0 in array.shape:
        shape = " x ".join(map(str, array.shape)) or "one number"
        raise refused(
            path,
            f"has {shape} in {_named(array)}",
            advice="features are items x width, or items x layers x width",
        )
    nbytes = int(np.prod(array.shape, dtype=object)) * array.width
    most = limits_of_environment().tensor_bytes
    if nbytes > most:
        raise refused(
            path,
            f"has {nbytes} bytes in {_named(array)}, more than tensor_bytes ="
            f" {most}",
            advice="see docs/caps.md",
        )


def _named(array: Stored) -> str:
    return printable(array.name, 80) if array.name else "its array"


def _layers(path: str, array: Stored) -> Iterator[Layer]:
    n, width = array.shape[0], array.shape[-1]
    if len(array.shape) == 2:
        yield Layer(
            array.name or "0", n, width, partial(_read, path, array, None)
        )
        return
    for i in range(array.shape[1]):
        name = f"{array.name}[{i}]" if array.name else str(i)
        yield Layer(name, n, width, partial(_read, path, array, i))


def _read(path: str, array: Stored, layer: int | None) -> Array:
    n, width = array.shape[0], array.shape[-1]
    out = np.empty((n, width), np.float64 if array.width > 4 else np.float32)
    start = 0
    for block in array.blocks():
        rows = out[start : start + len(block)]
        rows[:] = block if layer is None else block[:, layer]
        fault = fault_in(rows, array.dtype)
        if fault is not None:
            raise refused(
                path,
                f"{fault.detail} in {_named(array)}, rows {start} to"
                f" {start + len(block) - 1}",
                advice="items without features have to be left out, in all"
                " files",
            )
        start += len(block)
    return out
