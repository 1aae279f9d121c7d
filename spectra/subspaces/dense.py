"""Full weight matrices (or their differences from a base), one layer at once.

First each member by itself: its hash, its leading singular triplets, its part
of the sides' covariances. Then all members together, in column blocks less
their mean, for the Gram matrix. Where the layer of all members fits
the budget its bytes are read once and kept in between; else twice.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray

from spectra.backend.device import Device, to_host
from spectra.core.errors import Quarantine
from spectra.linalg.gram import (
    accurate_gram,
    gram,
    largest_eigenvalues,
    leading_eigenvectors,
)
from spectra.linalg.overlap import frobenius_overlap
from spectra.linalg.svd import SMALL_SIDE, block_krylov, gram_svd
from spectra.subspaces.products import Pass, Products, Register
from spectra.subspaces.result import Directions, SideFit
from spectra.subspaces.stacks import (
    JOINT,
    Stack,
    mean_projector,
    significant,
)
from spectra.weights.stream import DenseReader

__all__ = [
    "BLOCK",
    "WIDEST_SIDE",
    "DensePlan",
    "dense_products",
    "plan_dense",
]

Array = Any
Float = NDArray[np.float64]

BLOCK = 16_384
"""Columns of a Gram block: 16 MiB for 256 members in float32. Fixed, so that
sums have the same bits whatever memory or workers there are."""

WIDEST_SIDE = 5120
"""Sides up to here get a joint spectrum, from their d x d covariance. A limit
of the shape alone: what is reported must not depend on memory or workers."""


@dataclass(frozen=True, slots=True)
class DensePlan:
    """What the budget allows for one layer.

    Attributes
    ----------
    nbytes
        Peak of what will be allocated.
    cached
        All members are kept, so that bytes are read once.
    """

    nbytes: int
    cached: bool


def plan_dense(
    shape: tuple[int, int], n: int, /, *, rank: int, dtype: Any, room: int
) -> DensePlan:
    """Return what of a layer of `n` members fits into `room` bytes.

    Parameters
    ----------
    shape
        ``(out, in)``.
    n
        Members.
    rank
        Directions a member.
    dtype
        Of the blocks.
    room
        Bytes; the plan's own `nbytes` is above it where nothing fits.
    """
    width, small = int(np.dtype(dtype).itemsize), min(shape)
    size = shape[0] * shape[1]
    stacks = 3 * n * min(rank, small) * sum(shape) * width
    member = size * (2 * width + 8) + size * width
    solver = 32 * small**2 if small <= SMALL_SIDE else 160 * rank * max(shape)
    # A block as it is read, in float64, and its squares.
    blocks = n * BLOCK * (width + 16) + 48 * n * n
    # Sum, one member's term, and LAPACK's copy and work array.
    sides = sum(32 * d * d for d in shape if d <= WIDEST_SIDE)
    nbytes = stacks + member + solver + blocks + sides
    cached = nbytes + n * size * width <= room
    return DensePlan(nbytes + n * size * width * cached, cached)


@dataclass(slots=True)
class _Sums:
    """What is added up member by member."""

    device: Device
    rank: int
    covariance: list[Array | None]
    trace: float = 0.0
    left: list[Array] = field(default_factory=list)
    right: list[Array] = field(default_factory=list)
    values: list[Float] = field(default_factory=list)
    rounding: list[float] = field(default_factory=list)

    def add(self, x: Array, rounding: float) -> None:
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
        self.left.append(xp.matrix_transpose(U if wide else V))
        self.right.append(xp.matrix_transpose(V if wide else U))
        self.values.append(kept)
        self.rounding.append(rounding)
        self._add_sides(x, C, 0 if wide else 1)

    def _add_sides(self, x: Array, C: Array | None, small: int) -> None:
        xp = self.device.xp
        self.trace += float(xp.sum(x * x, dtype=xp.float64))
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
            xp.stack(self.left), xp.stack(self.right), np.stack(self.values)
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


def dense_products(reader: DenseReader, how: Pass, /) -> Products:
    """Return the products of one layer of full matrices.

    Parameters
    ----------
    reader
        The layer of all members.
    how
        As for every layer of the run.

    Raises
    ------
    BudgetError
        When not even one member at a time fits.
    """
    n = len(reader.sources)
    plan = plan_dense(
        reader.shape, n, rank=how.rank, dtype=how.dtype, room=how.budget.nbytes
    )
    how.budget.require("a layer of full weights", plan.nbytes)
    cache = np.empty((n, reader.size), reader.dtype) if plan.cached else None
    base = reader.base_digest()
    sums = _Sums(how.device, how.rank, _zeros(reader.shape, how.device))
    register = _members(reader, cache, sums)
    stack = sums.stack()
    inner, h, energy = _inner_products(reader, register.kept, cache, how)
    output = _side(stack.U, sums.covariance[0], sums.trace)
    input_ = _side(stack.V, sums.covariance[1], sums.trace)
    return Products(
        register=register,
        inner=inner,
        h=h,
        reference_energy=energy,
        rounding=np.array(sums.rounding),
        resolution=how.resolution(len(register.kept)),
        singular_values=stack.s,
        ranks=stack.ranks,
        output=output,
        input=input_,
        initial=None,
        directions=(
            _directions(stack, sums, (output, input_), how.side_resolution)
            if how.save
            else None
        ),
        base_digest=base.hex() if base else None,
    )


def _zeros(shape: tuple[int, int], device: Device) -> list[Array | None]:
    return [device.zeros((d, d)) if d <= WIDEST_SIDE else None for d in shape]


def _members(reader: DenseReader, cache: Any, sums: _Sums) -> Register:
    """Read each member once; keep it in `cache` where there is one."""
    register = Register()
    for i in range(len(reader.sources)):
        try:
            loaded = reader.member(i)
        except Quarantine as reason:
            register.failed.append((i, reason))
            continue
        if not register.admits(i, loaded.digest, loaded.fault):
            continue
        if cache is not None:
            cache[len(register.kept) - 1] = loaded.flat
        x = np.ascontiguousarray(reader.matrix(loaded.flat))
        sums.add(sums.device.put(x), loaded.rounding)
    register.require_two()
    return register


def _inner_products(
    reader: DenseReader, kept: list[int], cache: Any, how: Pass
) -> tuple[Float, Float, float]:
    """Return <y_i, y_j>, <y_i, r> and |r|^2 with the mean's rounding as r.

    K does not depend on r. The mean makes y small: float32 subtraction of
    nearby values is exact, and unrelated members keep no common part.
    """
    device, n = how.device, len(kept)
    dtype = how.product_dtype(n)
    total = device.zeros((n + 1, n + 1))
    for start in range(0, reader.size, BLOCK):
        stop = min(start + BLOCK, reader.size)
        X = np.empty((n + 1, stop - start), reader.dtype)
        if cache is not None:
            X[:n] = cache[:n, start:stop]
        else:
            for row, i in enumerate(kept):
                X[row] = reader.block(i, start, stop)
        X[n] = X[:n].mean(axis=0, dtype=np.float64)
        X[:n] -= X[n]
        Y = device.put(X.astype(dtype, copy=False))
        total = total + accurate_gram(Y)
    products = to_host(total)
    h, energy = products[:n, n].copy(), float(products[n, n])
    return products[:n, :n].copy(), h, energy


def _side(F: Array, covariance: Array | None, trace: float) -> SideFit:
    eigenvalues = None
    if covariance is not None:
        values = to_host(largest_eigenvalues(covariance, JOINT))
        eigenvalues = np.clip(values, 0.0, None)
    return SideFit(eigenvalues, trace, mean_projector(F), frobenius_overlap(F))


def _directions(
    stack: Stack, sums: _Sums, sides: tuple[SideFit, SideFit], noise: float
) -> Directions:
    def leading(C: Array | None, side: SideFit) -> Any:
        if C is None or side.eigenvalues is None:
            return None
        vectors = leading_eigenvectors(C, JOINT)
        return significant(vectors, side.eigenvalues, noise)

    return stack.directions(*map(leading, sums.covariance, sides))
