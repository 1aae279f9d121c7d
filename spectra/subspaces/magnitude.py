"""Whether numbers are so small, or so large, that their squares are lost."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.core.errors import Quarantine
from spectra.weights.stream import DenseReader, Loaded

__all__ = ["fault_of", "member_fault"]

_RANGE = {4: (1e-15, 1e15), 8: (1e-70, 1e70)}
"""By width: fourth powers of float64, and squares of float32, are numbers, and
so are sums of them over a whole layer."""


def fault_of(size: float, dtype: Any, /) -> Quarantine | None:
    """Return why numbers of that size cannot be squared; None where they can.

    Parameters
    ----------
    size
        Of the largest; 0 is no fault.
    dtype
        In which they are squared.
    """
    least, most = _RANGE[np.dtype(dtype).itemsize]
    if 0 < size < least:
        return _underflow(size)
    if size > most:
        return Quarantine(
            "OVERFLOW", f"is of size {size:.1e}: squares overflow"
        )
    return None


def member_fault(
    reader: DenseReader, i: int, loaded: Loaded, /
) -> Quarantine | None:
    """Return why the map of member i cannot be used; None where it can."""
    if loaded.fault is not None:
        return loaded.fault
    peak = _peak(loaded.flat)
    if peak == 0 and loaded.flat.dtype == np.float32:
        return _flushed(reader, i, loaded)
    return fault_of(peak, loaded.flat.dtype)


def _flushed(reader: DenseReader, i: int, loaded: Loaded) -> Quarantine | None:
    """Return whether zeros are so in the file too: float64 has lesser ones."""
    if reader.sources[i].weight.dtype != "F64":
        return None
    if loaded.dtype == "F64":
        stored = loaded.raw.view(np.float64)
    else:
        # It was turned round, in float32.
        stored = DenseReader(
            reader.shape, reader.sources, None, np.float64,
            reader.transposed, reader.tensors,
        ).block(i, 0, reader.size)  # fmt: skip
    peak = _peak(stored)
    return _underflow(peak) if peak > 0 else None


def _peak(values: NDArray[Any]) -> float:
    return float(max(values.max(), -values.min()))


def _underflow(size: float) -> Quarantine:
    return Quarantine("UNDERFLOW", f"is of size {size:.1e}: squares vanish")
