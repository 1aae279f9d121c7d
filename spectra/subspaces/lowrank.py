"""Adapter layers: everything from the factors, no update is ever formed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray

from spectra.backend.device import Device, to_host
from spectra.core.catalog import DenseSource, LowRankSource
from spectra.core.errors import Quarantine
from spectra.linalg.gram import BLOCK, double_centred, gram
from spectra.linalg.solvers import power_of_two
from spectra.linalg.stacked import Rows, stack_eigenpairs, stack_memory
from spectra.subspaces.alignment import (
    ZERO_BASE,
    Frame,
    alignment_memory,
    frame_of,
    low_rank_alignment,
)
from spectra.subspaces.magnitude import fault_of
from spectra.subspaces.products import (
    Alignment,
    Pass,
    Products,
    Register,
    Spread,
    product_dtype,
)
from spectra.subspaces.representatives import deal
from spectra.subspaces.result import Directions, Folds, SideFit
from spectra.subspaces.sides import side_fit
from spectra.subspaces.stacks import (
    JOINT,
    FactoredProducts,
    Stack,
    factored_products,
    fold_sums,
    needed,
    significant,
    streamed_memory,
    streamed_products,
    tile_size,
)
from spectra.weights.kept import KeptMaps, keeping
from spectra.weights.maps import LowRank
from spectra.weights.moments import Moments
from spectra.weights.stream import (
    DenseReader,
    TensorReader,
    read_low_rank,
)

__all__ = ["is_cheaper_streamed", "low_rank_memory", "low_rank_products"]

Array = Any
Float = NDArray[np.float64]

_COMMON_PART = 1e-2
"""Where less of the energy than this lies in the members' differences,
float32 products would leave their digits in the common part."""

_FLOAT32 = 2.0**-24
"""How far from orthonormal float32 directions may be before they are kept."""


def low_rank_memory(
    shape: tuple[int, int],
    sources: Sequence[LowRankSource],
    /,
    *,
    rank: int,
    dtype: Any,
    save: bool,
    beside: int = 0,
) -> int:
    """Return the bytes that `low_rank_products` takes at its peak.

    Parameters
    ----------
    shape
        ``(out, in)``.
    sources
        The members.
    rank
        Directions a member that count in overlaps.
    dtype
        Of their directions.
    save
        Whether directions are kept.
    beside
        What a base takes.
    """
    width = int(np.dtype(dtype).itemsize)
    n, r = len(sources), max(source.rank for source in sources)
    stacks = n * r * sum(shape) * width
    starts = sum(source.A.nbytes for source in sources)
    reading = starts + 48 * r * sum(shape) + n * (BLOCK * width + 12 * n)
    tile = min(n, tile_size(r)) * r
    # In float64 where members hardly differ, which only reading them tells.
    widened = 2 * tile * max(shape) if width < 8 else 0
    products = 8 * max(6 * tile**2, 2 * tile**2 + widened)
    if is_cheaper_streamed(n, r, *shape):
        products = max(products, streamed_memory(n, r))
    unreturned = width * tile**2
    spectra = max(
        stack_memory(n * q, d, needed(rank), width=width)
        for d in shape
        for q in (r, min(r, rank))
    )
    kept = 8 * n * (12 * n + shape[1] + r * JOINT)
    saved = 4 * n * min(r, rank) * sum(shape) if save else 0
    step = max(reading, products, spectra + beside, saved) + unreturned
    return stacks + step + kept


@dataclass(frozen=True, slots=True)
class _Factors:
    """Decompositions of the members read so far, in rows."""

    device: Device
    U: Array
    V: Array
    s: Float
    ranks: NDArray[np.int64]
    rounding: Float
    columns: Float
    moments: list[Moments]
    dtype: Any

    @classmethod
    def empty(
        cls, device: Device, shape: tuple[int, int], n: int, r: int, dtype: Any
    ) -> "_Factors":
        """Return room for `n` members of at most rank `r`."""
        kind = np.dtype(dtype).name
        return cls(
            device=device,
            U=device.zeros((n, r, shape[0]), kind),
            V=device.zeros((n, r, shape[1]), kind),
            s=np.zeros((n, r)),
            ranks=np.zeros(n, np.int64),
            rounding=np.zeros(n),
            columns=np.zeros((n, shape[1])),
            moments=[],
            dtype=dtype,
        )

    def triplets(self, update: LowRank) -> tuple[Array, Float, Array]:
        """Return the decomposition of one update, its values on the host."""
        tolerance = _FLOAT32 if self.dtype == np.float32 else 0.0
        left, values, right = update.thin_svd(
            self.device.put, tolerance=tolerance
        )
        return left, to_host(values), right

    def put(
        self, j: int, update: LowRank, found: tuple[Array, Float, Array]
    ) -> None:
        """Write the decomposition of one update into row j."""
        xp, (left, values, right) = self.device.xp, found
        noise = max(left.shape[0], right.shape[0]) * np.finfo(float).eps
        q = int(np.count_nonzero(values > noise * values[0]))
        for rows, vectors in ((self.U, left), (self.V, right)):
            leading = xp.matrix_transpose(vectors[:, :q])
            rows[j, :q, :] = xp.astype(leading, rows.dtype)
        self.s[j, :q] = values[:q]
        self.columns[j] = update.column_sums()
        self.moments.append(update.start_moments())
        self.ranks[j], self.rounding[j] = update.rank, update.rounding

    def stack(self, n: int) -> Stack:
        """Return the first `n` rows."""
        return Stack(self.U[:n, :, :], self.V[:n, :, :], self.s[:n])


def low_rank_products(
    sources: Sequence[LowRankSource],
    names: Sequence[str],
    shape: tuple[int, int],
    tensors: TensorReader,
    how: Pass,
    beside: DenseSource | None,
    /,
) -> Products:
    """Return the products of one layer of adapters.

    Parameters
    ----------
    sources, names
        One a member.
    shape
        ``(out, in)`` of the layer.
    tensors
        Does the reading.
    how
        As for every layer of the run.
    beside
        The weights that they are updates of; None where those are unknown.

    Raises
    ------
    BudgetError
        When the factors of all members do not fit together.
    """
    dtype = product_dtype(len(sources), how.dtype)
    r = max(source.rank for source in sources)
    rows = len(sources) * r
    needs = low_rank_memory(
        shape, sources, rank=how.rank, dtype=dtype, save=how.save,
        beside=alignment_memory(shape, rows, dtype=dtype) if beside else 0,
    )  # fmt: skip
    how.budget.require("a layer of adapters", needs)
    factors = _Factors.empty(how.device, shape, len(sources), r, dtype)
    register, initial = _read_into(factors, sources, tensors)
    n = register.require_two()
    stack = factors.stack(n)
    products, resolution = _products(stack, how)
    inner = products.inner
    lead, weighted = stack.truncated(how.rank), stack.weighted()
    kept = [names[i] for i in register.kept]
    fold_of = deal(inner, initial, "low-rank", kept)
    k = needed(how.rank)
    joint = [stack_eigenpairs(T, k, keep=JOINT) for T in weighted]
    sides = [
        side_fit(
            values, F, pairs, _folds(T, vectors, stack.s, fold_of),
            float(np.trace(inner)),
        )
        for (values, vectors), T, F, pairs in zip(
            joint, weighted, (lead.U, lead.V),
            (products.output, products.input), strict=True,
        )
    ]  # fmt: skip
    aligned = _beside(
        beside, shape, tensors, replace(how, dtype=dtype),
        lambda frame: low_rank_alignment(
            frame, stack, weighted, how.rank, register.digests
        ),
    )  # fmt: skip
    return Products(
        register=register,
        inner=inner,
        h=np.zeros(n),
        reference_energy=0.0,
        rounding=factors.rounding[:n] + _kept_rounding(stack),
        resolution=resolution,
        singular_values=lead.s,
        ranks=lead.ranks,
        output=sides[0],
        input=sides[1],
        initial=initial,
        directions=(
            _directions(lead, joint, sides, how.side_resolution)
            if how.save
            else None
        ),
        spread=Spread.of(
            factors.moments[:n], factors.columns[:n], products.rows
        ),
        fold_of=fold_of,
        **aligned,
    )


def _beside(
    base: DenseSource | None,
    shape: tuple[int, int],
    tensors: TensorReader,
    how: Pass,
    align: Callable[[Frame], Alignment],
) -> dict[str, Any]:
    """Return what is said of the base; the layer itself does not need it."""
    if base is None:
        return {}
    reader = DenseReader(
        shape, (base,), None, how.dtype, base.transposed, tensors
    )
    try:
        loaded = reader.member(0)
    except Quarantine as reason:
        return {"base_fault": f"the base: {reason.detail}"}
    known = {"base_digest": loaded.digest.hex()}
    if loaded.fault is not None:
        return known | {"base_fault": f"the base {loaded.fault.detail}"}
    frame = frame_of(reader.matrix(loaded.flat), how.device)
    if frame is None:
        return known | {"base_fault": ZERO_BASE}
    return known | {"alignment": align(frame)}


def _read_into(
    factors: _Factors, sources: Sequence[LowRankSource], tensors: TensorReader
) -> tuple[Register, Float]:
    """Read each member once; return who counts, and the starts' products."""
    register, ranks = Register(), []
    width = factors.V.shape[2]
    with keeping(sum(s.A.nbytes for s in sources), folder=None) as store:
        wide = any(source.A.dtype == "F64" for source in sources)
        dtype = np.float64 if wide else factors.dtype
        starts = KeptMaps(store, dtype, None)
        for i, source in enumerate(sources):
            try:
                # Who overflows is set aside below.
                with np.errstate(over="ignore", invalid="ignore"):
                    update = read_low_rank(source, tensors)
            except Quarantine as reason:
                register.failed.append((i, reason))
                continue
            if update.fault is not None:
                register.failed.append((i, update.fault))
                continue
            found = factors.triplets(update)
            fault = fault_of(float(found[1][0]), factors.dtype)
            if register.admits(i, update.digest, fault):
                factors.put(len(register.kept) - 1, update, found)
                starts.add(*update.start, update.rank * width)
                ranks.append(update.rank)
        return register, _initial(
            starts, np.array(ranks, np.int64), width, factors.device
        )


def _initial(
    starts: KeptMaps,
    ranks: NDArray[np.int64],
    width: int,
    device: Device,
) -> Float:
    """Return <A_i, A_j> of the raw factors, 0 where their ranks differ."""
    n, ends = len(ranks), ranks * width
    total = np.zeros((n, n))
    for start in range(0, int(ends.max(initial=0)), BLOCK):
        X = np.zeros((n, BLOCK), starts.dtype)
        for i in np.flatnonzero(ends > start):
            stop = min(start + BLOCK, int(ends[i]))
            X[i, : stop - start] = starts.entries(int(i), start, stop)
        scale = power_of_two(X)
        total += to_host(gram(device.put(X * scale))) / scale**2
    return np.where(ranks[:, None] == ranks[None, :], total, 0.0)


def _products(stack: Stack, how: Pass) -> tuple[FactoredProducts, float]:
    """Return the products, and c: eigenvalues below c * largest are noise."""
    n = len(stack.s)
    narrow = stack.dtype == np.float32
    (_, r, out), d = stack.U.shape, stack.V.shape[2]
    streamed = is_cheaper_streamed(n, r, out, d)
    multiply = streamed_products if streamed else factored_products
    found = multiply(stack, how.rank, dtype=stack.dtype)
    inner = found.inner
    if narrow:
        centred = float(np.trace(double_centred(inner)))
        if centred < _COMMON_PART * np.trace(inner):
            found = multiply(stack, how.rank, dtype=np.float64)
            narrow = False
    return found, how.resolution(n, narrow=narrow)


def is_cheaper_streamed(n: int, r: int, out: int, d: int, /) -> bool:
    """Return whether n maps are multiplied by their entries.

    Those of small tiles were measured half as fast.
    """
    return n * r * r * (out + d) > 2 * out * d * (n + 2 * r)


def _kept_rounding(stack: Stack) -> Float:
    """Return what keeping U and V in their dtype adds to squared norms."""
    eps = float(np.finfo(stack.dtype).eps)
    return np.asarray(eps**2 / 6 * np.sum(stack.s**2, axis=1))


def _folds(T: Rows, Z: Array, s: Float, fold_of: NDArray[np.int64]) -> Folds:
    """Return a side's sums over folds in its joint directions Z (d, m)."""
    xp = array_namespace(Z)
    Y = T.F @ xp.astype(Z, T.F.dtype)
    if T.weights is not None:
        Y = Y * T.weights[:, :, None]
    counted = fold_of >= 0
    energies = np.sum(s**2, axis=1)[counted]
    traces = np.bincount(fold_of[counted], weights=energies)
    return Folds(fold_sums(Y, fold_of), np.asarray(traces, float))


def _directions(
    lead: Stack,
    joint: list[tuple[Array, Array]],
    sides: list[SideFit],
    noise: float,
) -> Directions:
    output, input_ = (
        significant(vectors, side.eigenvalues, noise)
        for (_, vectors), side in zip(joint, sides, strict=True)
    )
    return lead.directions(output, input_)
