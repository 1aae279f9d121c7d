"""Maps of a layer that were read once and will be asked for again.

They are kept in the bytes they were stored in: in memory where they fit, else
in a file without a name, of which nothing is left when the process ends,
however it ends.
"""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from spectra.core.errors import StorageError
from spectra.weights.dtypes import decode_into

__all__ = ["KeptMaps", "Store", "keeping"]

Array = NDArray[Any]
Bytes = NDArray[np.uint8]

_SPARE = 64 * 2**20
"""Free bytes demanded beyond what will be written."""


class Store(Protocol):
    """Bytes that are written one after another and read anywhere."""

    def write(self, start: int, raw: Bytes, /) -> None:
        """Put bytes at an offset."""
        ...

    def read(self, start: int, nbytes: int, /) -> Bytes:
        """Return bytes from an offset; the next call may overwrite them."""
        ...

    def rows(
        self, start: int, stride: int, count: int, columns: slice, /
    ) -> Iterator[Bytes]:
        """Yield columns of rows that lie one after another, many at once.

        What is asked for next may overwrite them.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Memory:
    content: Bytes

    def write(self, start: int, raw: Bytes, /) -> None:
        self.content[start : start + raw.size] = raw

    def read(self, start: int, nbytes: int, /) -> Bytes:
        return self.content[start : start + nbytes]

    def rows(
        self, start: int, stride: int, count: int, columns: slice, /
    ) -> Iterator[Bytes]:
        rows = self.content[start : start + stride * count]
        yield rows.reshape(count, stride)[:, columns]


@dataclass(slots=True)
class _File:
    descriptor: int
    folder: Path
    buffer: Bytes = field(default_factory=lambda: np.empty(0, np.uint8))

    def write(self, start: int, raw: Bytes, /) -> None:
        view = raw.data
        try:
            while view.nbytes:
                done = os.pwrite(self.descriptor, view, start)
                view, start = view[done:], start + done
        except OSError as error:
            raise _not_kept(self.folder, error) from error

    def read(self, start: int, nbytes: int, /) -> Bytes:
        if self.buffer.size < nbytes:
            self.buffer = np.empty(nbytes, np.uint8)
        raw = self.buffer[:nbytes]
        view = raw.data
        while view.nbytes:
            done = os.preadv(self.descriptor, [view], start)
            view, start = view[done:], start + done
        return raw

    def rows(
        self, start: int, stride: int, count: int, columns: slice, /
    ) -> Iterator[Bytes]:
        nbytes = columns.stop - columns.start
        for row in range(count):
            at = start + row * stride + columns.start
            yield self.read(at, nbytes)[None, :]


@contextmanager
def keeping(nbytes: int, /, *, folder: Path | None) -> Iterator[Store]:
    """Give room for `nbytes`: in memory, or in a file below `folder`.

    Raises
    ------
    StorageError
        E_DISK_FULL where the disk has not that much, before it is written.
    """
    if folder is None:
        yield _Memory(np.empty(nbytes, np.uint8))
        return
    descriptor = _unnamed(folder, nbytes)
    try:
        yield _File(descriptor, folder)
    finally:
        os.close(descriptor)


def _unnamed(folder: Path, nbytes: int) -> int:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _ask_for_room(folder, nbytes + _SPARE)
        descriptor, name = tempfile.mkstemp(dir=folder)
        Path(name).unlink()
    except OSError as error:
        raise _not_kept(folder, error) from error
    return descriptor


def _ask_for_room(folder: Path, nbytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < nbytes:
        raise OSError(
            errno.ENOSPC,
            f"{free >> 20} MiB are free, {nbytes >> 20} MiB are needed",
        )


def _not_kept(folder: Path, error: OSError) -> StorageError:
    code = "E_DISK_FULL" if error.errno == errno.ENOSPC else "E_STORAGE"
    return StorageError(
        code,
        str(folder),
        f"{error.strerror}; a layer larger than --memory is kept there while"
        " it is fitted, and SPECTRA_CACHE names another place",
    )


@dataclass(slots=True)
class KeptMaps:
    """The maps of a layer, in the order in which they were added.

    Attributes
    ----------
    store
        Their bytes.
    dtype
        Of what is given back.
    base
        Entries that are subtracted from each; None for none.
    """

    store: Store
    dtype: Any
    base: Array | None
    _rows: list["_Row"] = field(default_factory=list)
    _end: int = 0

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._rows)

    def add(self, raw: Bytes, dtype: str, size: int, /) -> None:
        """Keep one map of `size` entries in their stored `dtype`."""
        self.store.write(self._end, raw)
        self._rows.append(_Row(self._end, raw.size, dtype, raw.size // size))
        self._end += raw.size

    @property
    def dtypes(self) -> frozenset[str]:
        """Return what they are stored in."""
        return frozenset(row.dtype for row in self._rows)

    def entries(self, row: int, start: int, stop: int, /) -> Array:
        """Return entries ``[start, stop)`` of one map, less the base's."""
        kept = self._rows[row]
        values = np.empty(stop - start, self.dtype)
        at, nbytes = kept.start + start * kept.width, values.size * kept.width
        decode_into(self.store.read(at, nbytes), kept.dtype, values)
        if self.base is not None:
            values -= self.base[start:stop]
        return values

    def fill(self, start: int, stop: int, out: Array, /) -> None:
        """Write `entries` of each map into a row of `out`.

        All maps have as many.
        """
        for rows, dtype, raw in self._tables(start, stop):
            decode_into(raw, dtype, out[rows])
        if self.base is not None:
            out -= self.base[start:stop]

    def fill_stored(self, start: int, stop: int, out: Array, /) -> None:
        """Write entries as they are stored, the base not subtracted.

        `out` has numbers of as many bytes as they have.
        """
        for rows, _, raw in self._tables(start, stop):
            out[rows] = raw.view(out.dtype)

    def _tables(
        self, start: int, stop: int
    ) -> Iterator[tuple[slice, str, Bytes]]:
        """Yield neighbours of one dtype: which rows, their dtype, their bytes.

        Rows by themselves would cost more than their copies, and keep other
        threads waiting.
        """
        end = 0
        for (nbytes, dtype, width), alike in groupby(self._rows, _Row.form):
            first, *others = alike
            columns = slice(start * width, stop * width)
            for raw in self.store.rows(
                first.start, nbytes, 1 + len(others), columns
            ):
                begin, end = end, end + len(raw)
                yield slice(begin, end), dtype, raw


@dataclass(frozen=True, slots=True)
class _Row:
    """Where one map is, and its bytes: all of them, and of an entry."""

    start: int
    nbytes: int
    dtype: str
    width: int

    def form(self) -> tuple[int, str, int]:
        """Return what neighbours share that are read together."""
        return self.nbytes, self.dtype, self.width
