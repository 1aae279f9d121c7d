"""The linear map a checkpoint holds in one layer, in the form it is kept."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.core.errors import Quarantine
from spectra.linalg.svd import factored_svd
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
    """

    _A: Float
    _B: Float
    _scale: float
    rounding: float
    digest: bytes

    @property
    def rank(self) -> int:
        """Return the number of columns of B."""
        return int(self._A.shape[0])

    @property
    def fault(self) -> Quarantine | None:
        """Return why it cannot be used; None where it can."""
        return fault_in(self._A, "F64") or fault_in(self._B, "F64")

    def thin_svd(self, put: Any, /) -> tuple[Any, Any, Any]:
        """Return U (out, r), s (r), V (in, r) on the device of `put`."""
        return factored_svd(put(self._A), put(self._B), scale=self._scale)

    def rows(self, start: int, stop: int, /) -> Float:
        """Return rows ``[start, stop)`` of the map itself, (rows, in)."""
        return self._scale * (self._B[start:stop] @ self._A)

    def column_sums(self) -> Float:
        """Return the sums over rows of the map itself, (in,)."""
        sums: Float = self._scale * (self._B.sum(axis=0) @ self._A)
        return sums

    def initial_factor(self) -> Float:
        """Return A as it is stored, for the test of a shared start alone."""
        return self._A
