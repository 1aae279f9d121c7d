"""Joint spectra of the sides of full matrices, and a side as a value."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.backend.device import to_host
from spectra.linalg.gram import eigenpairs, gram
from spectra.linalg.krylov import (
    OVERSAMPLING,
    leading_eigenpairs,
    starting_block,
)
from spectra.linalg.overlap import PairSums, pair_sums
from spectra.linalg.stacked import Rows, stack_eigenpairs
from spectra.subspaces.members import MemberSums
from spectra.subspaces.products import Pass
from spectra.subspaces.result import Folds, SideFit
from spectra.subspaces.stacks import (
    JOINT,
    Stack,
    mean_projector,
    needed,
    significant,
)

__all__ = ["JointSide", "joint_sides", "side_fit"]

Array = Any
Member = Callable[[int], NDArray[Any]]


@dataclass(frozen=True, slots=True)
class JointSide:
    """A side's numbers, and its directions where they are to be saved."""

    fit: SideFit
    directions: Array | None


def side_fit(
    eigenvalues: Array, F: Array, pairs: PairSums, folds: Folds, trace: float
) -> SideFit:
    """Return a side.

    Parameters
    ----------
    eigenvalues
        Of its sum, largest first, on the device.
    F
        (N, K, d) leading directions of the members.
    pairs
        What is known of every two of them.
    folds
        Its sums over folds.
    trace
        Of its sum.
    """
    projector, consensus = mean_projector(F)
    angles = pairs.angles
    return SideFit(
        eigenvalues=np.clip(to_host(eigenvalues), 0.0, None),
        trace=trace,
        projector_mean=projector,
        overlap=pairs.overlap,
        phi=pairs.phi,
        geodesic=angles.geodesic if angles else None,
        cosines=angles.mean_cosines if angles else None,
        consensus=consensus,
        folds=folds,
    )


def joint_sides(
    sums: MemberSums,
    stack: Stack,
    member: Member,
    fold_of: NDArray[np.int64],
    how: Pass,
    /,
) -> tuple[JointSide, JointSide]:
    """Return the output and the input side.

    Parameters
    ----------
    sums, stack
        What the members added up to, and their leading directions.
    member
        Gives one map (out, in) once more, on the host.
    fold_of
        N folds, -1 for members that count in none.
    how
        As for every layer of the run.
    """
    weighted = stack.weighted()
    joint = [
        _by_products(side, weighted[side], member, len(fold_of), how)
        if C is None
        else eigenpairs(
            C, needed(how.rank), keep=JOINT, tolerance=how.side_resolution
        )
        for side, C in enumerate(sums.covariance)
    ]
    folds = _folds(sums, [vectors for _, vectors in joint], member, fold_of)
    found = []
    for side, F in enumerate((stack.U, stack.V)):
        values, vectors = joint[side]
        pairs = pair_sums(F, stack.ranks)
        fit = side_fit(values, F, pairs, folds[side], sums.trace)
        directions = None
        if how.save:
            noise = how.side_resolution
            directions = significant(vectors, fit.eigenvalues, noise)
        found.append(JointSide(fit, directions))
    return found[0], found[1]


def _folds(
    sums: MemberSums,
    joint: list[Array],
    member: Member,
    fold_of: NDArray[np.int64],
) -> list[Folds]:
    """Return both sides' sums over folds, in their joint directions."""
    device, n_folds = sums.device, int(fold_of.max()) + 1
    totals = [np.zeros((n_folds, Z.shape[1], Z.shape[1])) for Z in joint]
    traces = np.zeros(n_folds)
    for i, fold in enumerate(fold_of):
        if fold < 0:
            continue
        x = device.put(np.ascontiguousarray(member(i)))
        xp = device.xp
        traces[fold] += sums.energies[i]
        for side, Z in enumerate(joint):
            y = x if side == 0 else xp.matrix_transpose(x)
            part = xp.matrix_transpose(xp.astype(Z, x.dtype)) @ y
            totals[side][fold] += to_host(gram(part))
    return [Folds(total, traces) for total in totals]


def _by_products(
    side: int, weighted: Rows, member: Member, n: int, how: Pass
) -> tuple[Array, Array]:
    """Return the leading eigenpairs of a sum of members, from its products.

    The members' own leading directions, weighted, begin the space.
    """
    device, xp = how.device, how.device.xp

    def apply(X: Array) -> Array:
        total = device.zeros(tuple(X.shape))
        narrow = xp.astype(X, weighted.F.dtype)
        for i in range(n):
            x = member(i)
            y = device.put(np.ascontiguousarray(x if side == 0 else x.T))
            product = y @ (xp.matrix_transpose(y) @ narrow)
            total = total + xp.astype(product, xp.float64)
        return total

    width = JOINT + OVERSAMPLING
    lead = stack_eigenpairs(weighted, 1, keep=width)[1]
    start = starting_block(xp.astype(lead, xp.float64), width)
    return leading_eigenpairs(
        apply, start, needed(how.rank), tolerance=how.side_resolution,
        keep=JOINT,
    )  # fmt: skip
