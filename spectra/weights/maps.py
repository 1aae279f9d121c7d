"""The linear map a checkpoint holds in one layer, in the form it is kept."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.core.errors import Quarantine
from spectra.linalg.svd import factored_svd
from spectra.weights.moments import Moments, moments
from spectra.weights.soundness import fault_in

__all__ = ["LowRank"]

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LowRank:
    r"""An update :math:`x = s\,B A` kept as its factors, in float64.

    For any invertible G the factors ``(G @ A, B @ inv(G))`` give the same x,
    so nothing outside this class may look at a factor on its own. The one
    exception says so in its name: the test for a shared initialisation.

    Attributes
    ----------
    rounding
        What storing A and B in few bits adds to ``||x||^2``.
    digest
        Hash of the stored bytes and the scale.
    start
        A in the bytes it is stored in, and their dtype: for the test of a
        shared start alone.
    """

    _A: Float
    _B: Float
    _scale: float
    rounding: float
    digest: bytes
    start: tuple[NDArray[np.uint8], str]

    @property
    def rank(self) -> int:
        """Return the number of columns of B."""
        return int(self._A.shape[0])

    @property
    def fault(self) -> Quarantine | None:
        """Return why it cannot be used; None where it can."""
        return fault_in(self._A, "F64") or fault_in(self._B, "F64")

    def thin_svd(
        self, put: Any, /, *, tolerance: float
    ) -> tuple[Any, Any, Any]:
        """Return U (out, r), s (r), V (in, r) on the device of `put`.

        `tolerance` is how far from orthonormal U and V may be.
        """
        A, B = put(self._A), put(self._B)
        return factored_svd(A, B, scale=self._scale, tolerance=tolerance)

    def minus(self, other: "LowRank", /) -> "LowRank":
        """Return the difference of two updates of one layer."""
        A, B = other._A, other._scale * other._B  # noqa: SLF001 - its own
        return LowRank(
            np.concatenate([self._A, A]),
            np.concatenate([self._scale * self._B, -B], axis=1),
            1.0,
            self.rounding + other.rounding,
            b"",
            self.start,
        )

    def inner(self, other: "LowRank", /) -> float:
        """Return the inner product with another update of the layer."""
        B = self._B.T @ other._B  # noqa: SLF001 - its own
        A = self._A @ other._A.T  # noqa: SLF001 - its own
        return self._scale * other._scale * float(np.sum(B * A))  # noqa: SLF001

    def right(self, X: Float, /) -> Float:
        """Return the map times X (in, k), which is (out, k)."""
        return self._scale * (self._B @ (self._A @ X))

    def left(self, Y: Float, /) -> Float:
        """Return the transposed map times Y (out, k), which is (in, k)."""
        return self._scale * (self._A.T @ (self._B.T @ Y))

    def rows(self, start: int, stop: int, /) -> Float:
        """Return rows ``[start, stop)`` of the map itself, (rows, in)."""
        return self._scale * (self._B[start:stop] @ self._A)

    def column_sums(self) -> Float:
        """Return the sums over rows of the map itself, (in,)."""
        ones = np.ones(len(self._B))
        sums: Float = self._scale * ((ones @ self._B) @ self._A)
        return sums

    def start_moments(self) -> Moments:
        """Return how the entries of A are distributed."""
        return moments(self._A)
