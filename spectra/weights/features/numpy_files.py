"""Features in ``.npy`` and ``.npz``: the header is checked, then the numbers.

Objects are never unpickled: their dtype is refused by name.
"""

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from spectra.weights.bytes import FileSource, read_bytes
from spectra.weights.features.arrays import Stored, refused, rows_at_once

__all__ = ["arrays_in_npy", "arrays_in_npz"]

_LONGEST = 10_000
"""Bytes of a header; NumPy's own cap on what it parses."""

_READERS = {
    (1, 0): npy.read_array_header_1_0,
    (2, 0): npy.read_array_header_2_0,
}

_NO_HEADER = (ValueError, KeyError, SyntaxError, TypeError, TokenError)
"""What NumPy's own reader raises at what is none."""

_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    OSError,
    UnicodeDecodeError,
    RuntimeError,
)
"""What zipfile raises at a damaged, encrypted or exotic archive."""


def arrays_in_npy(path: str, /) -> list[Stored]:
    """Return the array of a ``.npy`` file."""
    with FileSource(path) as source:
        start = read_bytes(source, 0, min(source.nbytes, _LONGEST + 16))
        header = _header(BytesIO(start), source.nbytes, path, "")
    return [_stored("", header, partial(_opened, path), path)]


def arrays_in_npz(path: str, /) -> list[Stored]:
    """Return the arrays of a ``.npz`` archive."""
    arrays = []
    with _archive(path) as archive:
        for entry in archive.infolist():
            name = entry.filename.removesuffix(".npy")
            if name == entry.filename:
                raise refused(
                    path, f"holds {entry.filename}, which is no .npy"
                )
            with archive.open(entry) as file:
                start = BytesIO(file.read(_LONGEST + 16))
            header = _header(start, entry.file_size, path, name)
            opened = partial(_member, path, entry.filename)
            arrays.append(_stored(name, header, opened, path))
    names = [array.name for array in arrays]
    if len(set(names)) < len(names):
        raise refused(path, "holds two arrays of one name")
    return arrays


@dataclass(frozen=True, slots=True)
class _Header:
    """Shape, order of entries and dtype, and where the numbers begin."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    start: int


def _header(file: BytesIO, nbytes: int, path: str, name: str) -> _Header:
    where = f" in {name}" if name else ""
    try:
        read = _READERS[npy.read_magic(file)]
        shape, fortran, dtype = read(file, max_header_size=_LONGEST)
    except _NO_HEADER as error:
        raise refused(path, f"has no .npy header that is read{where}") from (
            error
        )
    header = _Header(shape, fortran, dtype, file.tell())
    wanted = int(np.prod(shape, dtype=object)) * header.dtype.itemsize
    found = nbytes - header.start
    is_shape = all(side >= 0 for side in shape)
    if not header.dtype.hasobject and not (is_shape and found == wanted):
        raise refused(
            path,
            f"has {found} bytes of numbers{where} where its header says"
            f" {wanted}",
            advice="write it again",
        )
    return header


def _stored(name: str, header: _Header, opened: Any, path: str) -> Stored:
    dtype = header.dtype
    return Stored(
        name,
        header.shape,
        "pickled objects" if dtype.hasobject else str(dtype),
        dtype.itemsize,
        dtype.kind == "f" and dtype.itemsize <= 8,
        partial(_blocks, header, opened, path),
    )


def _blocks(header: _Header, opened: Any, path: str) -> Iterator[NDArray[Any]]:
    shape, dtype = header.shape, header.dtype
    with opened() as file:
        _exactly(file, header.start, path)
        if header.fortran:
            raw = _exactly(file, int(np.prod(shape)) * dtype.itemsize, path)
            yield np.frombuffer(raw, dtype).reshape(shape, order="F")
            return
        row = int(np.prod(shape[1:])) * dtype.itemsize
        step = rows_at_once(row)
        for start in range(0, shape[0], step):
            rows = min(step, shape[0] - start)
            raw = _exactly(file, rows * row, path)
            yield np.frombuffer(raw, dtype).reshape(rows, *shape[1:])


def _exactly(file: IO[bytes], nbytes: int, path: str) -> bytes:
    try:
        raw = file.read(nbytes)
    except _BROKEN as error:
        raise refused(path, f"is damaged: {error}") from error
    if len(raw) != nbytes:
        raise refused(path, "ends before its numbers do")
    return raw


@contextmanager
def _opened(path: str) -> Iterator[IO[bytes]]:
    try:
        with Path(path).open("rb") as file:
            yield file
    except OSError as error:
        raise refused(path, f"cannot be read: {error.strerror}") from error


@contextmanager
def _archive(path: str) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except _BROKEN as error:
        raise refused(path, f"is damaged: {error}") from error


@contextmanager
def _member(path: str, name: str) -> Iterator[IO[bytes]]:
    with _archive(path) as archive, archive.open(name) as file:
        yield file
