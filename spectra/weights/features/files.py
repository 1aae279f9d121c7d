"""Which files hold features: one row a format."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.core.errors import Quarantine
from spectra.core.tensors import REAL_DTYPES, FileRef, TensorRef
from spectra.weights.bytes import FileSource
from spectra.weights.dtypes import decode_into
from spectra.weights.features.arrays import (
    Layer,
    Stored,
    layers_of,
    refused,
    rows_at_once,
)
from spectra.weights.features.hdf5_files import arrays_in_hdf5
from spectra.weights.features.numpy_files import arrays_in_npy, arrays_in_npz
from spectra.weights.header import read_header
from spectra.weights.stream import TensorReader

__all__ = ["FORMATS", "read_features", "tensor_rows"]


def read_features(path: str, /) -> tuple[Layer, ...]:
    """Return the layers of a file of features; their rows are not read yet.

    Parameters
    ----------
    path
        Of a file whose ending is among `FORMATS`.

    Raises
    ------
    UsageError
        E_FEATURES where it holds none.
    """
    if not Path(path).is_file():
        raise refused(path, "is not a file", advice="name a file of features")
    try:
        arrays = FORMATS[Path(path).suffix.lower()](path)
    except Quarantine as fault:
        raise refused(path, f"is refused: {fault}") from fault
    return layers_of(path, arrays)


def tensor_rows(
    ref: TensorRef, tensors: TensorReader, /
) -> Iterator[NDArray[Any]]:
    """Yield the rows of a tensor of a safetensors file, by blocks.

    Raises
    ------
    Quarantine
        Where the file has changed or cannot be read.
    """
    row = ref.size // ref.shape[0]
    width = ref.nbytes // ref.size
    step = rows_at_once(row * width)
    for start in range(0, ref.shape[0], step):
        stop = min(start + step, ref.shape[0])
        raw = tensors.read(ref, start * row, stop * row)
        values = np.empty(
            (stop - start, *ref.shape[1:]),
            np.float64 if width > 4 else np.float32,
        )
        decode_into(raw, ref.dtype, values)
        yield values


def _arrays_in_safetensors(path: str) -> list[Stored]:
    real = str(Path(path).resolve())
    with FileSource(real) as source:
        header = read_header(source, file=real)
        file = source.reference(header.sha256)
    return [
        Stored(
            ref.name,
            ref.shape,
            ref.dtype,
            ref.nbytes // max(1, ref.size),
            ref.dtype in REAL_DTYPES,
            partial(_rows, path, ref, file),
        )
        for ref in header.tensors
    ]


def _rows(path: str, ref: TensorRef, file: FileRef) -> Iterator[NDArray[Any]]:
    try:
        yield from tensor_rows(ref, TensorReader({file.path: file}))
    except Quarantine as fault:
        raise refused(path, f"is refused: {fault}") from fault


FORMATS: dict[str, Callable[[str], list[Stored]]] = {
    ".npy": arrays_in_npy,
    ".npz": arrays_in_npz,
    ".safetensors": _arrays_in_safetensors,
    ".h5": arrays_in_hdf5,
    ".hdf5": arrays_in_hdf5,
}
"""Readers of a file's arrays, by its ending."""
