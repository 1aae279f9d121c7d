"""A safetensors file, written tensor by tensor as these come."""

import json
import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from spectra.core.tensors import DTYPE_BITS

__all__ = ["Planned", "write_pieces", "write_tensors"]


@dataclass(frozen=True, slots=True)
class Planned:
    """A tensor that may come. `dtype` is a name in the file's vocabulary."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Return the bytes it takes in the file."""
        return math.prod(self.shape) * DTYPE_BITS[self.dtype] // 8


def write_tensors(
    file: BinaryIO,
    planned: Sequence[Planned],
    tensors: Iterable[tuple[str, NDArray[Any]]],
    /,
    *,
    metadata: Mapping[str, str],
) -> None:
    """Write those of the planned tensors that come.

    Parameters
    ----------
    file
        Empty.
    planned
        All that may come, in that order.
    tensors
        Names and entries, in the planned dtype.
    metadata
        Of the file.

    Notes
    -----
    The header stands before the data and says what follows, which is known in
    the end. Room is left for the longest: that of all tensors. What is not
    needed of it stays blank, as the format allows.
    """
    room = len(_header(planned, metadata))
    room += -room % 8
    file.seek(8 + room)
    places = {each.name: each for each in planned}
    came = []
    for name, values in tensors:
        came.append(places[name])
        file.write(values.reshape(-1).view(np.uint8).data)
    text = _header(came, metadata)
    file.seek(0)
    file.write(struct.pack("<Q", room) + text.ljust(room))


def write_pieces(
    file: BinaryIO,
    planned: Sequence[Planned],
    pieces: Iterable[NDArray[np.uint8]],
    /,
    *,
    metadata: Mapping[str, str],
) -> None:
    """Write all of the planned tensors, from pieces of any length.

    Parameters
    ----------
    file
        Empty.
    planned
        What comes, in that order.
    pieces
        The bytes of all, one after another.
    metadata
        Of the file.
    """
    text = _header(planned, metadata)
    room = len(text) + -len(text) % 8
    file.write(struct.pack("<Q", room) + text.ljust(room))
    file.writelines(piece.data for piece in pieces)


def _header(tensors: Iterable[Planned], metadata: Mapping[str, str]) -> bytes:
    entries: dict[str, Any] = {"__metadata__": dict(metadata)}
    start = 0
    for each in tensors:
        stop = start + each.nbytes
        entries[each.name] = {
            "dtype": each.dtype,
            "shape": each.shape,
            "data_offsets": [start, stop],
        }
        start = stop
    return json.dumps(entries).encode()
