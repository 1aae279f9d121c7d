"""Merges by the updates' singular values and vectors.

They are the same for cores and full weights as long as no singular value is
zero. The singular vectors of those that are zero are anything: of updates of
low rank the published code, on full weights, keeps some of them and gives
them weight. Here they are left out, so that the result is one.
"""

import math

import numpy as np
from numpy.typing import NDArray

from spectra.apply.merging.core_space import CoreSpace
from spectra.apply.merging.framed import Framed
from spectra.apply.merging.triplets import Triplets, triplets
from spectra.linalg.solvers import svd

__all__ = ["cart", "iso_c", "iso_cts", "tsv_m"]

Matrix = NDArray[np.float64]

_DEPENDENT = 1e-8
"""Of the largest: directions of different updates that are nearer to each
other than this, the root of rounding, are one."""


def tsv_m(
    space: CoreSpace, /, *, keep: int | None = None, lam: float = 1.0
) -> Framed:
    r"""Return the updates summed along directions made orthogonal.

    Parameters
    ----------
    space
        The updates.
    keep
        Triplets of each update; None for min(out, in) / N, rounded down and
        at least one, as Gargiulo et al. (2024) have it. That truncates no
        update of low rank where N r is below min(out, in). The code of
        Panariello et al. (2025) takes the size of its cores instead, which is
        the same where all ranks are equal; where they are not, it keeps their
        mean.
    lam
        Multiplies the result; 1 where it is published.

    Notes
    -----
    The singular vectors of all updates beside each other, :math:`[U_1 ...
    U_N]` and :math:`[V_1 ... V_N]`, are replaced by the nearest orthonormal
    ones, their polar factors. Where they are linearly dependent no columns are
    orthonormal, and the code completes them by what its solver happens to
    return; here the factor is a partial isometry: N times the same update is
    then that update.
    """
    keep = max(1, min(space.shape) // len(space)) if keep is None else keep
    joint = Triplets.of_all(part.leading(keep) for part in space.parts)
    white = Triplets(_polar(joint.U), lam * joint.s, _polar(joint.V))
    return space.framed(white.product())


def iso_c(space: CoreSpace, /, *, lam: float = 1.0) -> Framed:
    """Return the sum of the updates with all singular values made equal.

    Parameters
    ----------
    space
        The updates.
    lam
        Multiplies the result.

    Notes
    -----
    Each becomes their mean, so that the sum of them stays (Marczak et al.
    2025). The mean is one over the rank of the sum. On full weights the
    published code averages over all min(out, in), and raises the singular
    vectors of zero, which are anything, as high as the others: of updates of
    low rank it is not well defined, and a result of full rank besides. In the
    cores of Panariello et al. (2025) the two are the same unless the sum has
    a lower rank than the cores have rows.
    """
    whole = triplets(space.combined(np.ones(len(space))).M)
    return space.framed(lam * _level(whole).product())


def iso_cts(
    space: CoreSpace, /, *, common: float = 0.8, lam: float = 1.0
) -> Framed:
    """Return `iso_c` of common directions and of some of each update's own.

    Parameters
    ----------
    space
        The updates.
    common
        Share of the directions that are those of the sum.
    lam
        Multiplies the result.

    Notes
    -----
    As in the code of Marczak et al. (2025): of as many directions as the
    smaller side of a matrix, here of the cores, each update has an equal
    share of what is not common, rounded to the nearest; the leading ones of
    what is left of the update without the common left directions. All are
    made orthogonal as in `tsv_m`, and their singular values equal. In the
    cores, for the reason that is given for `iso_c`.
    """
    n, size = len(space), min(space.size)
    own = min(round((size - int(size * common)) / n), size // n)
    shared = triplets(space.combined(np.ones(n)).M, size - n * own)
    rest = [
        _left_of(part, shared.U, own, float(np.linalg.norm(part.s)))
        for part in space.parts
    ]
    joint = _level(Triplets.of_all([*rest, shared]))
    white = Triplets(_polar(joint.U), lam * joint.s, _polar(joint.V))
    return space.framed(white.product())


def cart(
    space: CoreSpace, /, *, keep: int | None = None, lam: float = 1.0
) -> Framed:
    """Return the mean and the leading part of each update's way from it.

    Parameters
    ----------
    space
        The updates.
    keep
        Triplets of each difference from the mean; None for 4 per cent of the
        smaller side of the cores, rounded up, as the code of Panariello et
        al. (2025) has it. Choi et al. (2024) take 8 per cent of full weights.
    lam
        Multiplies the differences; 0.1 unless told otherwise in that code.

    Notes
    -----
    The differences sum to zero: where nothing is left out of them, and where
    all is, the result is the mean.
    """
    n, size = len(space), min(space.size)
    average = space.combined(np.full(n, 1 / n)).M
    keep = math.ceil(0.04 * size) if keep is None else keep
    away = np.zeros_like(average)
    for core in space:
        away += triplets(core - average, keep).product()
    return space.framed(average + lam * away)


def _left_of(
    part: Triplets, common: Matrix, keep: int, norm: float
) -> Triplets:
    """Return the leading triplets of an update less common directions.

    The update has few directions, and so has what is left of it: the
    decomposition is one of a few columns.
    """
    rest = part.left - common @ (common.T @ part.left)
    found = triplets(rest, keep, scale=norm)
    return Triplets(found.U, found.s, part.V @ found.V)


def _level(joint: Triplets) -> Triplets:
    """Return triplets with each singular value their mean; none of none."""
    mean = np.full_like(joint.s, joint.s.mean()) if len(joint.s) else joint.s
    return Triplets(joint.U, mean, joint.V)


def _polar(F: Matrix) -> Matrix:
    """Return the partial isometry nearest to F (p, k)."""
    if F.shape[1] == 0:
        return F
    W, s, Zh = svd(F)
    kept = s > _DEPENDENT * s[0]
    isometry: Matrix = W[:, kept] @ Zh[kept]
    return isometry
