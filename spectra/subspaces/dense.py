"""Full weight matrices (or their differences from a base), one layer at once.

First each member by itself, read once and kept: its hash, its leading singular
triplets, its part of the sides' covariances. Then what was kept, all members
together, in column blocks less their mean, for the Gram matrix; and member by
member again where a side is too wide for its covariance.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.core.errors import Quarantine
from spectra.linalg.krylov import krylov_memory
from spectra.linalg.overlap import frobenius_overlap
from spectra.linalg.solvers import power_of_two
from spectra.linalg.stacked import WIDE
from spectra.linalg.svd import SMALL_SIDE
from spectra.subspaces.alignment import (
    ZERO_BASE,
    alignment_memory,
    dense_alignment,
    frame_of,
)
from spectra.subspaces.inner import inner_memory, inner_products
from spectra.subspaces.magnitude import member_fault
from spectra.subspaces.members import MemberSums
from spectra.subspaces.products import (
    LayerCost,
    Pass,
    Products,
    Register,
    Spread,
)
from spectra.subspaces.representatives import deal
from spectra.subspaces.sides import joint_sides
from spectra.subspaces.stacks import JOINT
from spectra.weights.kept import KeptMaps, keeping
from spectra.weights.stream import DenseReader

__all__ = ["dense_memory", "dense_products", "plan_dense"]

Float = NDArray[np.float64]


def dense_memory(
    shape: tuple[int, int],
    n: int,
    /,
    *,
    rank: int,
    dtype: Any,
    beside: int = 0,
) -> int:
    """Return the bytes that `dense_products` takes, the kept members apart.

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
    beside
        What a base takes.
    """
    width, small = int(np.dtype(dtype).itemsize), min(shape)
    size = shape[0] * shape[1]
    stacks = 3 * n * min(rank, small) * sum(shape) * width
    member = size * (2 * width + 8) + size * width
    solver = 32 * small**2 if small <= SMALL_SIDE else 160 * rank * max(shape)
    sums = sum(8 * d * d for d in shape if d <= WIDE)
    # The next sum and one member's term of it, or the leading directions.
    sides = max(
        max(16 * d * d if d <= WIDE else 0, krylov_memory(d, JOINT))
        for d in shape
    )
    step = max(solver, inner_memory(n, dtype), sides, beside)
    return stacks + sums + member + step


def plan_dense(needs: int, /, *, kept: int, room: int) -> LayerCost:
    """Return where the members of a layer can be kept.

    Parameters
    ----------
    needs
        Bytes that it takes wherever they are.
    kept
        Bytes that all members take as they are stored.
    room
        Bytes; the cost's own `nbytes` is above it where nothing fits.
    """
    if needs + kept <= room:
        return LayerCost(needs + kept)
    return LayerCost(needs, spilled=kept)


def dense_products(
    reader: DenseReader, names: Sequence[str], how: Pass, /
) -> Products:
    """Return the products of one layer of full matrices.

    Parameters
    ----------
    reader
        The layer of all members.
    names
        Of the members.
    how
        As for every layer of the run.

    Raises
    ------
    BudgetError
        When not even one member at a time fits.
    StorageError
        When the members fit neither the memory nor the disk.
    """
    n, size = len(reader.sources), reader.kept_nbytes
    beside = (
        alignment_memory(reader.shape, 0, dtype=how.dtype)
        if reader.base
        else 0
    )
    needs = dense_memory(
        reader.shape, n, rank=how.rank, dtype=how.dtype, beside=beside
    )
    plan = plan_dense(needs, kept=size, room=how.budget.nbytes)
    how.budget.require("a layer of full weights", plan.nbytes)
    base = reader.base_digest()
    with ExitStack() as held:
        folder: Path | None = how.spill if plan.spilled else None
        store = held.enter_context(keeping(size, folder=folder))
        kept = reader.kept_in(store)
        sums = MemberSums.empty(how, reader.shape)
        register = _members(reader, kept, sums)
        stack = sums.stack()
        found = inner_products(kept, reader.size, how.device, how.dtype)
        inner, h, energy = found.inner, found.h, found.energy
        fold_of = deal(
            inner + h[:, None] + h[None, :] + energy,
            None,
            "dense" if reader.base is None else "difference",
            [names[i] for i in register.kept],
        )

        def member(row: int) -> NDArray[Any]:
            return reader.matrix(kept.entries(row, 0, reader.size))

        sides = joint_sides(sums, stack, member, fold_of, how)
        W, alignment = reader.base_matrix(), None
        frame = None if W is None else frame_of(W, how.device)
        if frame is not None:
            alignment = dense_alignment(
                frame, sums, stack, member, register.digests
            )
    scale = power_of_two(stack.s)
    rows = frobenius_overlap(stack.weighted_input(scale)) / scale**4
    return Products(
        register=register,
        inner=inner,
        h=h,
        reference_energy=energy,
        rounding=np.array(sums.rounding),
        resolution=how.resolution(
            len(register.kept), narrow=how.dtype == np.float32
        ),
        singular_values=stack.s,
        ranks=stack.ranks,
        output=sides[0].fit,
        input=sides[1].fit,
        initial=None,
        directions=(
            stack.directions(sides[0].directions, sides[1].directions)
            if how.save
            else None
        ),
        spread=Spread.of(sums.moments, np.stack(sums.columns), rows),
        fold_of=fold_of,
        base_digest=base.hex() if base else None,
        alignment=alignment,
        base_fault=ZERO_BASE if base and not alignment else None,
    )


def _members(
    reader: DenseReader, kept: KeptMaps, sums: MemberSums
) -> Register:
    """Read each member once and keep it."""
    register = Register()
    for i in range(len(reader.sources)):
        try:
            # Who overflows is set aside below.
            with np.errstate(over="ignore", invalid="ignore"):
                loaded = reader.member(i)
        except Quarantine as reason:
            register.failed.append((i, reason))
            continue
        fault = member_fault(reader, i, loaded)
        if not register.admits(i, loaded.digest, fault):
            continue
        kept.add(loaded.raw, loaded.dtype, reader.size)
        x = np.ascontiguousarray(reader.matrix(loaded.flat))
        sums.add(sums.device.put(x), loaded.rounding, loaded.moments)
    register.require_two()
    return register
