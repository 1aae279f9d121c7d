"""What a layer's maps leave behind, by position among those that were read."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.backend.device import Device
from spectra.backend.memory import Budget
from spectra.core.errors import Quarantine
from spectra.subspaces.result import (
    BaseFit,
    BaseSide,
    Directions,
    SideFit,
    WeightStats,
)
from spectra.weights.bytes import FileSource, Opener
from spectra.weights.moments import Moments, moments_table

__all__ = [
    "FEW",
    "Alignment",
    "LayerCost",
    "Pass",
    "Products",
    "Register",
    "Spread",
    "TooFewMembersError",
    "product_dtype",
]

Float = NDArray[np.float64]

FEW = 64
"""Up to so many members products are formed in float64: it costs less than
reading them, and with so few the rounding of float32 sums (1.2e-7 of the
largest eigenvalue was seen) does not average out."""


def product_dtype(n: int, dtype: Any, /) -> Any:
    """Return the dtype in which the maps of `n` members are multiplied."""
    return np.float64 if n <= FEW else dtype


@dataclass(frozen=True, slots=True)
class LayerCost:
    """What one layer takes.

    Attributes
    ----------
    nbytes
        Peak of what will be allocated.
    spilled
        Bytes that are kept on the disk, since the members do not fit.
    """

    nbytes: int
    spilled: int = 0


@dataclass(frozen=True, slots=True)
class Pass:
    """How the layers of a run are computed.

    Attributes
    ----------
    rank
        Directions a member that count in overlaps and projectors.
    device
        Where to compute.
    dtype
        Of blocks; float32 or float64. Sums are always float64.
    budget
        What one layer may allocate.
    save
        Whether to keep directions.
    opener
        Opens the files of checkpoints.
    spill
        Folder for what is read once and does not fit the budget.
    recipes
        Names of those to follow besides.
    metrics
        Whether each member is looked at by itself.
    """

    rank: int
    device: Device
    dtype: Any
    budget: Budget
    save: bool
    spill: Path
    opener: Opener = FileSource
    recipes: tuple[str, ...] = ()
    metrics: bool = False

    @property
    def side_resolution(self) -> float:
        """Return the share of a side's largest eigenvalue that is noise.

        Covariances are sums of whole products in the blocks' precision; the
        tests hold their eigenvalues to these bounds.
        """
        return 1e-6 if self.dtype == np.float32 else 1e-12

    def resolution(self, n: int, /, *, narrow: bool) -> float:
        """Return c: eigenvalues below c times the largest are noise.

        7e-9 was measured for `narrow` products, of float32 blocks of 16 k
        columns with float64 sums.
        """
        return 7e-9 if narrow else n * 2.2e-16


@dataclass(slots=True)
class Register:
    """Which of the maps read so far count: finite, and not seen before.

    Attributes
    ----------
    kept
        Positions of the maps that count.
    duplicates
        (position, position of its first occurrence).
    failed
        (position, why it was set aside).
    digests
        Of the maps that count, in hex.
    """

    kept: list[int] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    duplicates: list[tuple[int, int]] = field(default_factory=list)
    failed: list[tuple[int, Quarantine]] = field(default_factory=list)
    _seen: dict[bytes, int] = field(default_factory=dict)

    def admits(
        self, i: int, digest: bytes, fault: Quarantine | None, /
    ) -> bool:
        """Return whether map i counts, and remember why it does not."""
        if fault is not None:
            self.failed.append((i, fault))
            return False
        first = self._seen.setdefault(digest, i)
        if first != i:
            self.duplicates.append((i, first))
            return False
        self.kept.append(i)
        self.digests.append(digest.hex())
        return True

    def require_two(self) -> int:
        """Return how many maps count, at least two.

        Raises
        ------
        TooFewMembersError
            When fewer are left: there is nothing to compare.
        """
        if len(self.kept) < 2:
            raise TooFewMembersError(self)
        return len(self.kept)


class TooFewMembersError(Quarantine):
    """Fewer than two distinct maps are left of a layer."""

    def __init__(self, register: Register) -> None:
        self.register = register
        super().__init__(
            "TOO_FEW_MEMBERS",
            f"{len(register.kept)} distinct members are left, after"
            f" {len(register.duplicates)} byte-identical and"
            f" {len(register.failed)} that were set aside",
        )


@dataclass(frozen=True, slots=True)
class Spread:
    """How entries lie in the members' maps: see `LayerFit` for each field."""

    weights: WeightStats
    entry_sums: Float
    row_sums: Float
    row_products: Float

    @classmethod
    def of(
        cls, moments: list[Moments], columns: Float, row_products: Float, /
    ) -> "Spread":
        """Return it, from N distributions and N sums over rows (N, in)."""
        return cls(
            WeightStats(*moments_table(moments)),
            columns.sum(axis=1),
            columns @ columns.T,
            row_products,
        )


@dataclass(frozen=True, slots=True)
class Alignment:
    """A layer beside its base: see `LayerFit` and `SideFit` for each field."""

    output: BaseSide
    input: BaseSide
    base: BaseFit


@dataclass(frozen=True, slots=True)
class Products:
    """`LayerFit` without names: see there for each field."""

    register: Register
    inner: Float
    h: Float
    reference_energy: float
    rounding: Float
    resolution: float
    singular_values: Float
    ranks: NDArray[np.int64]
    output: SideFit
    input: SideFit
    initial: Float | None
    directions: Directions | None
    spread: Spread
    fold_of: NDArray[np.int64]
    base_digest: str | None = None
    alignment: Alignment | None = None
    base_fault: str | None = None
