"""Joint spectra of the sides of full matrices."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.backend.device import to_host
from spectra.linalg.gram import largest_eigenvalues, leading_eigenvectors
from spectra.linalg.krylov import (
    OVERSAMPLING,
    leading_eigenpairs,
    starting_block,
)
from spectra.linalg.overlap import frobenius_overlap
from spectra.linalg.stacked import stack_directions
from spectra.subspaces.members import MemberSums
from spectra.subspaces.products import Pass
from spectra.subspaces.result import SideFit
from spectra.subspaces.stacks import (
    JOINT,
    Stack,
    mean_projector,
    significant,
)

__all__ = ["JointSide", "joint_sides"]

Array = Any
Members = Callable[[], Iterable[NDArray[Any]]]


@dataclass(frozen=True, slots=True)
class JointSide:
    """A side's numbers, and its directions where they are to be saved."""

    fit: SideFit
    directions: Array | None


def joint_sides(
    sums: MemberSums,
    stack: Stack,
    members: Members,
    how: Pass,
    /,
) -> tuple[JointSide, JointSide]:
    """Return the output and the input side.

    Parameters
    ----------
    sums, stack
        What the members added up to, and their leading directions.
    members
        Gives the maps (out, in) once more, on the host, for sides too wide
        for their covariance.
    how
        As for every layer of the run.
    """
    weighted = stack.weighted()
    joint = []
    for side, F in enumerate((stack.U, stack.V)):
        C = sums.covariance[side]
        values, vectors = (
            _by_products(side, weighted[side], members, how)
            if C is None
            else _of_matrix(C, how)
        )
        eigenvalues = np.clip(to_host(values), 0.0, None)
        fit = SideFit(
            eigenvalues, sums.trace, mean_projector(F), frobenius_overlap(F)
        )
        directions = vectors if how.save else None
        if directions is not None:
            noise = how.side_resolution
            directions = significant(directions, eigenvalues, noise)
        joint.append(JointSide(fit, directions))
    return joint[0], joint[1]


def _of_matrix(C: Array, how: Pass) -> tuple[Array, Array | None]:
    vectors = leading_eigenvectors(C, JOINT) if how.save else None
    return largest_eigenvalues(C, JOINT), vectors


def _by_products(
    side: int, weighted: Array, members: Members, how: Pass
) -> tuple[Array, Array]:
    """Return the leading eigenpairs of a sum of members, from its products.

    The members' own leading directions, weighted, begin the space.
    """
    device, xp = how.device, how.device.xp

    def apply(X: Array) -> Array:
        total = device.zeros(tuple(X.shape))
        narrow = xp.astype(X, weighted.dtype)
        for x in members():
            y = device.put(np.ascontiguousarray(x if side == 0 else x.T))
            product = y @ (xp.matrix_transpose(y) @ narrow)
            total = total + xp.astype(product, xp.float64)
        return total

    width = JOINT + OVERSAMPLING
    lead = stack_directions(weighted, min(width, *weighted.shape))
    start = starting_block(xp.astype(lead, xp.float64), width)
    return leading_eigenpairs(
        apply, start, JOINT, tolerance=how.side_resolution
    )
