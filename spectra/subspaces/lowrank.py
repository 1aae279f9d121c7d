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
from spectra.linalg.gram import double_centred, gram
from spectra.linalg.stacked import stack_eigenpairs
from spectra.subspaces.alignment import (
    ZERO_BASE,
    Frame,
    alignment_memory,
    frame_of,
    low_rank_alignment,
)
from spectra.subspaces.products import (
    Alignment,
    Pass,
    Products,
    Register,
    Spread,
)
from spectra.subspaces.representatives import deal
from spectra.subspaces.result import Directions, Folds, SideFit
from spectra.subspaces.sides import side_fit
from spectra.subspaces.stacks import (
    JOINT,
    Stack,
    factored_products,
    fold_sums,
    significant,
    stack_memory,
    tile_size,
)
from spectra.weights.maps import LowRank
from spectra.weights.moments import Moments, moments
from spectra.weights.stream import (
    DenseReader,
    TensorReader,
    read_low_rank,
)

__all__ = ["low_rank_memory", "low_rank_products"]

Array = Any
Float = NDArray[np.float64]

_COMMON_PART = 1e-2
"""Where less of the energy than this lies in the members' differences,
float32 products would leave their digits in the common part."""


def low_rank_memory(shape: tuple[int, int], ranks: Sequence[int], /) -> int:
    """Return the bytes that `low_rank_products` takes at its peak.

    Counted in float64, since a layer whose members hardly differ is done
    again in it.
    """
    n, r, width = len(ranks), max(ranks), 8
    stacks = n * r * (3 * sum(shape) + shape[1] + 2 * JOINT) * width
    stacks += n * shape[1] * width
    tiles = 6 * (tile_size(r) * r) ** 2 * width
    smaller = sum(stack_memory(n * r, d) for d in shape)
    return stacks + tiles + smaller + 64 * n * n


@dataclass(frozen=True, slots=True)
class _Factors:
    """Decompositions of the members read so far, in rows, beside their A."""

    device: Device
    U: Array
    V: Array
    s: Float
    A: NDArray[Any]
    ranks: NDArray[np.int64]
    rounding: Float
    columns: Float
    moments: list[Moments]

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
            A=np.zeros((n, r, shape[1]), dtype),
            ranks=np.zeros(n, np.int64),
            rounding=np.zeros(n),
            columns=np.zeros((n, shape[1])),
            moments=[],
        )

    def put(self, j: int, update: LowRank) -> None:
        """Write the decomposition of one update into row j."""
        xp = self.device.xp
        left, values, right = update.thin_svd(self.device.put)
        values = to_host(values)
        noise = max(left.shape[0], right.shape[0]) * np.finfo(float).eps
        q = int(np.count_nonzero(values > noise * values[0]))
        for rows, vectors in ((self.U, left), (self.V, right)):
            leading = xp.matrix_transpose(vectors[:, :q])
            rows[j, :q, :] = xp.astype(leading, rows.dtype)
        self.s[j, :q] = values[:q]
        A = update.initial_factor()
        self.A[j, : update.rank] = A
        self.columns[j] = update.column_sums()
        self.moments.append(moments(A))
        self.ranks[j], self.rounding[j] = update.rank, update.rounding

    def stack(self, n: int) -> Stack:
        """Return the first `n` rows."""
        return Stack(self.U[:n, :, :], self.V[:n, :, :], self.s[:n])

    def initial(self, n: int) -> Float:
        """Return <A_i, A_j> of the raw factors, 0 where their ranks differ."""
        flat = self.A[:n].reshape(n, -1)
        products = to_host(gram(self.device.put(flat)))
        same = self.ranks[:n, None] == self.ranks[None, :n]
        return np.where(same, products, 0.0)


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
    dtype = how.product_dtype(len(sources))
    ranks = [source.rank for source in sources]
    needs = low_rank_memory(shape, ranks)
    if beside is not None:
        needs += alignment_memory(shape, len(ranks) * max(ranks))
    how.budget.require("a layer of adapters", needs)
    factors = _Factors.empty(how.device, shape, len(ranks), max(ranks), dtype)
    register = _read_into(factors, sources, tensors)
    n = register.require_two()
    stack = factors.stack(n)
    products = factored_products(stack, how.rank)
    inner = products.inner
    centred = np.trace(double_centred(inner))
    if dtype == np.float32 and centred < _COMMON_PART * np.trace(inner):
        del factors, stack, products
        exact = replace(how, dtype=np.float64)
        return low_rank_products(sources, names, shape, tensors, exact, beside)
    lead, weighted = stack.truncated(how.rank), stack.weighted()
    initial = factors.initial(n)
    kept = [names[i] for i in register.kept]
    fold_of = deal(inner, initial, "low-rank", kept)
    joint = [stack_eigenpairs(T, JOINT) for T in weighted]
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
        rounding=factors.rounding[:n],
        resolution=how.resolution(n),
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
) -> Register:
    register = Register()
    for i, source in enumerate(sources):
        try:
            update = read_low_rank(source, tensors)
        except Quarantine as reason:
            register.failed.append((i, reason))
            continue
        if register.admits(i, update.digest, update.fault):
            factors.put(len(register.kept) - 1, update)
    return register


def _folds(T: Array, Z: Array, s: Float, fold_of: NDArray[np.int64]) -> Folds:
    """Return a side's sums over folds in its joint directions Z (d, m)."""
    xp = array_namespace(T)
    n, r = s.shape
    Y = xp.reshape(T @ xp.astype(Z, T.dtype), (n, r, -1))
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
