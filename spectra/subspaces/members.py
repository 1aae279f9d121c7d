"""What full matrices add up to, one member after another."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray

from spectra.backend.device import Device, to_host
from spectra.linalg.gram import gram
from spectra.linalg.stacked import WIDE
from spectra.linalg.svd import SMALL_SIDE, block_krylov, gram_svd
from spectra.subspaces.products import Pass
from spectra.subspaces.stacks import Stack
from spectra.weights.moments import Moments

__all__ = ["MemberSums"]

Array = Any
Float = NDArray[np.float64]


@dataclass(slots=True)
class MemberSums:
    """Leading triplets of each member, and the sums of all.

    Attributes
    ----------
    covariance
        Sums of x x^T and of x^T x, in float64; None for a side wider than
        `spectra.linalg.stacked.WIDE`.
    energies, rounding, moments
        Of each member: its squared norm, what storage adds to it, and how its
        stored entries are distributed.
    columns
        Of each member: its sums over rows, (in,).
    """

    device: Device
    rank: int
    covariance: list[Array | None]
    energies: list[float] = field(default_factory=list)
    rounding: list[float] = field(default_factory=list)
    moments: list[Moments] = field(default_factory=list)
    columns: list[Float] = field(default_factory=list)
    _left: list[Array] = field(default_factory=list)
    _right: list[Array] = field(default_factory=list)
    _values: list[Float] = field(default_factory=list)

    @classmethod
    def empty(cls, how: Pass, shape: tuple[int, int], /) -> "MemberSums":
        """Return the sums of no members of that shape."""
        covariance = [
            how.device.zeros((d, d)) if d <= WIDE else None for d in shape
        ]
        return cls(how.device, how.rank, covariance)

    @property
    def trace(self) -> float:
        """Return the trace of both covariances."""
        return float(sum(self.energies))

    def add(self, x: Array, rounding: float, moments: Moments, /) -> None:
        """Take in the map x (out, in), on the device."""
        xp = self.device.xp
        wide = x.shape[0] <= x.shape[1]
        X = x if wide else xp.matrix_transpose(x)
        U, s, V, C = _triplets(X, min(self.rank, X.shape[0]), xp)
        kept = to_host(s)
        noise = _noise(X, exact=C is not None)
        kept = np.where(kept > noise * kept[0], kept, 0.0)
        mask = xp.asarray(kept > 0, dtype=X.dtype, device=self.device.handle)
        U, V = U * mask, V * mask
        self._left.append(xp.matrix_transpose(U if wide else V))
        self._right.append(xp.matrix_transpose(V if wide else U))
        self._values.append(kept)
        self.rounding.append(rounding)
        self.moments.append(moments)
        columns = xp.sum(x, axis=0, dtype=xp.float64)
        self.columns.append(to_host(columns))
        self._add_sides(x, C, 0 if wide else 1)

    def _add_sides(self, x: Array, C: Array | None, small: int) -> None:
        xp = self.device.xp
        self.energies.append(float(xp.sum(x * x, dtype=xp.float64)))
        for side in (0, 1):
            total = self.covariance[side]
            if total is None:
                continue
            if C is not None and side == small:
                self.covariance[side] = total + C
            else:
                y = x if side == 0 else xp.matrix_transpose(x)
                self.covariance[side] = total + gram(y)

    def stack(self) -> Stack:
        """Return the members' leading directions."""
        xp = self.device.xp
        return Stack(
            xp.stack(self._left), xp.stack(self._right), np.stack(self._values)
        )


def _triplets(
    X: Array, k: int, xp: Any
) -> tuple[Array, Array, Array, Array | None]:
    """Return U, s, V of X (m <= n), and its Gram matrix where that was made.

    The Gram matrix is (m, m) in float64.
    """
    if X.shape[0] <= SMALL_SIDE:
        C = gram(xp.astype(X, xp.float64))
        return *gram_svd(X, C, k), C
    return *block_krylov(X, k), None


def _noise(X: Array, *, exact: bool) -> float:
    """Return the share of s[0] below which singular values are rounding.

    What a Gram matrix in float64 resolves where it was `exact`, else NumPy's
    rule for the rank of a matrix of that dtype.
    """
    larger = max(X.shape)
    resolved = float(np.sqrt(larger * np.finfo(float).eps))
    eps = float(array_namespace(X).finfo(X.dtype).eps)
    return resolved if exact else max(larger * eps, resolved)
