"""Whether the entries of a tensor can be multiplied at all."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.core.errors import Quarantine

__all__ = ["fault_in"]

_LARGEST = {4: 1e15, 8: 1e70}
"""Largest entries by width: the squares of a whole layer, and in float64 the
product of two factors, stay finite."""


def fault_in(values: NDArray[Any], stored: str, /) -> Quarantine | None:
    """Return why `values` cannot be used, or None.

    Parameters
    ----------
    values
        The decoded entries.
    stored
        The dtype they were stored in.
    """
    peak = float(max(values.max(), -values.min()))
    if not np.isfinite(peak):
        narrowed = stored == "F64" and values.dtype == np.float32
        hint = ", or numbers too large for --precision f32" if narrowed else ""
        return Quarantine("NONFINITE", f"holds infinities or NaN{hint}")
    if peak > _LARGEST[values.dtype.itemsize]:
        return Quarantine(
            "OVERFLOW", f"holds entries up to {peak:.1e}: squares overflow"
        )
    return None
