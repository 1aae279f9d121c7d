"""A file of features: one dataset a pooling and layer, a row an item.

Layout of schema ``spectra-features/1``: datasets ``mean/0``, ``mean/1``, ...
of (items, width), and the document as attributes of the file, lists and
objects of it as JSON.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

__all__ = ["SCHEMA", "FeatureFile", "is_features"]

SCHEMA = "spectra-features/1"


class FeatureFile:
    """A file that is being written; a context manager.

    Parameters
    ----------
    path
        Of a file that is not there.
    n
        Rows of every dataset.
    dtype
        Of its numbers.
    """

    def __init__(self, path: Path, n: int, dtype: str, /) -> None:
        self._file = h5py.File(path, "w-")
        self._n, self._dtype = n, dtype

    def write(self, start: int, rows: Mapping[str, NDArray[Any]], /) -> None:
        """Write the rows from `start` on, by the datasets' names.

        Raises
        ------
        ValueError
            Where a number is none, or none of that dtype.
        """
        for name, values in rows.items():
            with np.errstate(over="ignore"):
                kept = values.astype(self._dtype)
            if not np.isfinite(kept).all():
                raise ValueError(name)
            if name not in self._file:
                shape = (self._n, values.shape[1])
                self._file.create_dataset(name, shape, self._dtype)
            self._file[name][start : start + len(kept)] = kept

    def describe(self, document: Mapping[str, Any], /) -> None:
        """Keep what the file is."""
        for key, value in document.items():
            is_plain = isinstance(value, (str, int, float))
            text = value if is_plain else json.dumps(value)
            self._file.attrs[key] = text

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def is_features(path: Path, /) -> bool:
    """Return whether a file is one of these."""
    try:
        with h5py.File(path, "r") as file:
            return str(file.attrs.get("schema")) == SCHEMA
    except OSError:
        return False
