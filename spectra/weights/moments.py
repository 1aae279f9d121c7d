"""How the entries of a tensor are distributed, piece by piece."""

from collections.abc import Iterator
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["NOTHING", "Moments", "moments", "moments_table"]

_PIECE = 1 << 14


@dataclass(frozen=True, slots=True)
class Moments:
    """Distribution of entries.

    Attributes
    ----------
    mean, std
        Of the entries.
    kurtosis
        Fourth central moment over the squared variance; NaN for a constant.
    zeros, ones
        Shares that are exactly 0, exactly 1.
    """

    mean: float
    std: float
    kurtosis: float
    zeros: float
    ones: float


NOTHING = Moments(*[float("nan")] * 5)
"""Of entries that are not numbers."""


def moments(values: NDArray[Any], /) -> Moments:
    """Return how the entries of an array are distributed."""
    flat = values.reshape(-1)
    n = flat.size
    mean = sum(float(piece.sum()) for piece in _pieces(flat)) / n
    second = fourth = 0.0
    zeros = ones = 0
    for piece in _pieces(flat):
        zeros += int(np.count_nonzero(piece == 0))
        ones += int(np.count_nonzero(piece == 1))
        deviations = piece - mean
        second += float(deviations @ deviations)
        squares = deviations * deviations
        fourth += float(squares @ squares)
    variance = second / n
    # A constant leaves the rounding of its mean.
    noise = (float(np.finfo(flat.dtype).eps) * abs(mean)) ** 2
    kurtosis = fourth / n / variance**2 if variance > noise else float("nan")
    return Moments(mean, variance**0.5, kurtosis, zeros / n, ones / n)


def _pieces(flat: NDArray[Any]) -> Iterator[NDArray[np.float64]]:
    for start in range(0, flat.size, _PIECE):
        yield flat[start : start + _PIECE].astype(np.float64, copy=False)


def moments_table(rows: list[Moments], /) -> tuple[NDArray[np.float64], ...]:
    """Return the fields of many as arrays, in the order of `Moments`."""
    return tuple(np.array([astuple(row) for row in rows], float).T.copy())
