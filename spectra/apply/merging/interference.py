r"""How much of each other the updates of a layer get in the way of.

In the cores, whose singular values and vectors are those of the updates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spectra.apply.merging.core_space import CoreSpace
from spectra.apply.merging.framed import Framed
from spectra.apply.merging.triplets import Triplets, triplets
from spectra.linalg.solvers import svdvals

__all__ = [
    "Disturbance",
    "Norm",
    "alignment_ratios",
    "disturbance",
    "interference",
    "interference_matrix",
]

Float = NDArray[np.float64]

Norm = Literal["entrywise", "nuclear"]


@dataclass(frozen=True, slots=True)
class Disturbance:
    """How much the N updates of a layer get in each other's way.

    Attributes
    ----------
    total
        The `interference` of all.
    pairs
        That of each pair alone, (N, N).
    ratios
        The `alignment_ratios` of each update with each, (N, N).
    """

    total: float
    pairs: Float
    ratios: Float


def disturbance(space: CoreSpace, /) -> Disturbance:
    """Return all of it, entrywise and of all triplets."""
    maps = [
        Framed(part.U, np.diag(part.s), part.V)
        for part in (each.leading() for each in space.parts)
    ]
    return Disturbance(
        interference(space),
        interference_matrix(space),
        alignment_ratios(maps, maps),
    )


def interference(
    space: CoreSpace,
    /,
    *,
    keep: int | None = None,
    norm: Norm = "entrywise",
) -> float:
    r"""Return the singular task interference of all updates at once.

    Parameters
    ----------
    space
        N updates.
    keep
        Triplets of each; None for all.
    norm
        ``"entrywise"``, the sum of absolute values, or ``"nuclear"``, that of
        singular values. The first does not depend on signs of singular
        vectors, but on their choice where singular values are equal; the
        second on neither.

    Returns
    -------
    float
        :math:`\|(U^T U - I) \Sigma (V^T V - I)\|_1` of Gargiulo et al. (2024),
        in the units of the singular values: all updates times c have c times
        the interference. U, :math:`\Sigma` and V are those of all updates
        beside each other. 0 where updates are orthogonal on one side, and of
        one alone. Of N equal updates, N (N - 1)^2 times the sum of their
        singular values entrywise, and N (N - 1) times it by the nuclear norm.

    Notes
    -----
    The paper writes a norm with the index 1 and does not say of what. Read as
    one of vectors it is entrywise, the default here; as one of Schatten's,
    nuclear.
    """
    parts = [part.leading(keep) for part in space.parts]
    return _of_joint(Triplets.of_all(parts), norm)


def interference_matrix(
    space: CoreSpace,
    /,
    *,
    keep: int | None = None,
    norm: Norm = "entrywise",
) -> Float:
    """Return the `interference` of each pair alone, (N, N); 0 of one.

    Parameters
    ----------
    space
        N updates.
    keep, norm
        As of `interference`.
    """
    parts = [part.leading(keep) for part in space.parts]
    found = np.zeros((len(parts), len(parts)))
    for i, one in enumerate(parts):
        for j, other in enumerate(parts[:i]):
            pair = _of_joint(Triplets.of_all([one, other]), norm)
            found[i, j] = found[j, i] = pair
    return found


def _of_joint(joint: Triplets, norm: Norm) -> float:
    one = np.eye(len(joint.s))
    left, right = (F.T @ F - one for F in (joint.U, joint.V))
    product = (left * joint.s) @ right
    if norm == "entrywise":
        return float(np.sum(np.abs(product)))
    return float(np.sum(svdvals(product)))


def alignment_ratios(
    maps: Sequence[Framed],
    references: Sequence[Framed],
    /,
    *,
    k: int | None = None,
    share: float = 0.95,
) -> Float:
    r"""Return the subspace alignment ratio of each map with each reference.

    Parameters
    ----------
    maps
        N of one layer, such as ``space.framed(core)`` of each core.
    references
        P of the same, such as a merged one or the maps themselves.
    k
        Left directions of a reference, the leading ones; None for the fewest
        whose singular values have more than `share` of the norm.
    share
        Of the norm: 0.95 is 0.9025 of the energy.

    Returns
    -------
    Float
        (N, P), :math:`\|U_k U_k^T x\|_F / \|x\|_F` in 0 to 1 (Marczak et al.
        2025), 1 at full k of a reference that a map lies in. NaN of a map that
        is zero, 0 with a reference that is.

    Notes
    -----
    Not symmetric: it is large where the reference has many directions. Code
    for it in circulation takes the index of the last of the k directions for
    their number, and so one fewer.
    """
    spaces = [_leading_left(reference, k, share) for reference in references]
    found = np.full((len(maps), len(spaces)), np.nan)
    for i, one in enumerate(maps):
        norm = float(np.linalg.norm(one.M))
        for j, U in enumerate(spaces if norm else ()):
            inside = _inside(U, one)
            found[i, j] = min(1.0, float(np.linalg.norm(inside)) / norm)
    return found


def _leading_left(reference: Framed, k: int | None, share: float) -> Float:
    joint = triplets(reference.M)
    if k is None:
        kept = np.sqrt(np.cumsum(joint.s**2))
        k = 1 + int(np.count_nonzero(kept <= share * np.linalg.norm(joint.s)))
    directions = joint.U[:, :k]
    return directions if reference.U is None else reference.U @ directions


def _inside(directions: Float, one: Framed) -> Float:
    """Return a map's part in some left directions, in their coordinates."""
    across = directions.T if one.U is None else directions.T @ one.U
    inside: Float = across @ one.M
    return inside
