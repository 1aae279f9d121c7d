"""Features in HDF5: plain datasets only, wherever in the file they lie."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from spectra.weights.features.arrays import Stored, refused, rows_at_once

__all__ = ["arrays_in_hdf5", "items_of"]

_FILTERS = {
    h5py.h5z.FILTER_DEFLATE,
    h5py.h5z.FILTER_SHUFFLE,
    h5py.h5z.FILTER_FLETCHER32,
    h5py.h5z.FILTER_LZF,
}
"""Those that come with the library: any other would be loaded as code."""


def arrays_in_hdf5(path: str, /) -> list[Stored]:
    """Return every dataset of a file; links are not followed."""
    arrays: list[Stored] = []

    def seen(name: str, entry: Any) -> None:
        if isinstance(entry, h5py.Dataset):
            arrays.append(_stored(path, name, entry))

    try:
        with h5py.File(path, "r") as file:
            file.visititems(seen)
    except (OSError, RuntimeError, KeyError) as error:
        raise refused(path, f"is no HDF5 that is read: {error}") from error
    return arrays


def items_of(path: str, /) -> tuple[str, str] | None:
    """Return kind and hash of the items that a file says its rows are."""
    try:
        with h5py.File(path, "r") as file:
            kind = file.attrs.get("kind", "")
            found = file.attrs.get("items_sha256")
    except (OSError, RuntimeError, TypeError):
        return None
    if not (isinstance(kind, str) and isinstance(found, str)):
        return None
    return kind, found


def _stored(path: str, name: str, dataset: Any) -> Stored:
    plan = dataset.id.get_create_plist()
    filters = {plan.get_filter(i)[0] for i in range(plan.get_nfilters())}
    if dataset.is_virtual or dataset.external or filters - _FILTERS:
        raise refused(
            path,
            f"keeps {name} elsewhere or by a filter that is not the library's",
            advice="copy it into a plain dataset",
        )
    dtype = dataset.dtype
    return Stored(
        name,
        dataset.shape or (),
        str(dtype),
        dtype.itemsize,
        dtype.kind == "f" and dtype.itemsize <= 8,
        partial(_blocks, path, name),
    )


def _blocks(path: str, name: str) -> Iterator[NDArray[Any]]:
    try:
        with h5py.File(path, "r") as file:
            dataset = file[name]
            row = int(np.prod(dataset.shape[1:])) * dataset.dtype.itemsize
            step = rows_at_once(row)
            for start in range(0, dataset.shape[0], step):
                yield dataset[start : start + step]
    except (OSError, RuntimeError, KeyError) as error:
        raise refused(path, f"is damaged: {error}") from error
