"""A trained update as PEFT has them: two factors of a rank, scale 1."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectra.linalg.svd import factored_svd
from spectra.subspaces.recipes.table import Factors

__all__ = ["Written", "written"]

_KEPT = float(np.finfo(np.float32).eps)
"""Singular values of less than this share of the largest are rounding: the
factors are trained, and are written, in float32 at best."""


@dataclass(frozen=True, slots=True)
class Written:
    """What is written of an update.

    Attributes
    ----------
    A, B
        (r, in) and (out, r) in float64; the roots of the singular values go to
        both alike.
    needed
        The rank that the update itself has.
    norm, missed
        Frobenius norms, of the update and of what is left out of it.
    """

    A: NDArray[np.float64]
    B: NDArray[np.float64]
    needed: int
    norm: float
    missed: float

    @property
    def error(self) -> float:
        """Return what is left out, relative to the update."""
        return self.missed / self.norm if self.norm else 0.0

    def padded(self, rank: int, /) -> "Written":
        """Return the same in factors of that rank: what they lack is zero."""
        lacking = rank - len(self.A)
        return Written(
            np.pad(self.A, ((0, lacking), (0, 0))),
            np.pad(self.B, ((0, 0), (0, lacking))),
            self.needed,
            self.norm,
            self.missed,
        )


def written(update: Factors, rank: int | None, /) -> Written:
    """Return the best factors of at most a rank; None for all of it."""
    U, s, V = factored_svd(update.A, update.B, scale=update.scale)
    needed = int(np.count_nonzero(s > _KEPT * s[0]))
    r = needed if rank is None else min(rank, needed)
    root = np.sqrt(s[:r])
    return Written(
        root[:, None] * V[:, :r].T,
        U[:, :r] * root,
        needed,
        float(np.linalg.norm(s)),
        float(np.linalg.norm(s[r:])),
    )
