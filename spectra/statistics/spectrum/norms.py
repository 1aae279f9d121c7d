"""How large a matrix is and in how many directions, by its singular values.

A quantity that WeightWatcher reports too has the name that it has there; one
that is computed otherwise has another.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr

from spectra.linalg.solvers import power_of_two

__all__ = ["Norms", "norms", "whole"]

Vector = NDArray[np.float64]
Shape = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Norms:
    r"""Norms and ranks of one matrix.

    Attributes
    ----------
    frobenius, nuclear
        :math:`(\sum \sigma_i^2)^{1/2}` and :math:`\sum \sigma_i`.
    sv_max
        The spectral norm :math:`\sigma_1`.
    log_norm, log_spectral_norm
        :math:`\log_{10}` of the squares of `frobenius` and `sv_max`, as
        WeightWatcher's: its ``norm`` and ``spectral_norm`` are squares. None
        of zeros.
    stable_rank
        :math:`\sum \sigma_i^2 / \sigma_1^2`.
    effective_rank
        :math:`\exp(-\sum p_i \ln p_i)`, :math:`p_i = \sigma_i^2 / \sum
        \sigma_j^2` (Roy and Vetterli 2007, who take
        :math:`\sigma_i / \sum \sigma_j`).
    participation_ratio
        :math:`1 / \sum p_i^2`; None of zeros.
    hard_rank
        How many values are above the rounding of storage.
    """

    frobenius: float
    sv_max: float
    nuclear: float
    log_norm: float | None
    log_spectral_norm: float | None
    stable_rank: float
    effective_rank: float
    participation_ratio: float | None
    hard_rank: int


_ZERO = Norms(0.0, 0.0, 0.0, None, None, 0.0, 0.0, None, 0)


def whole(s: Vector, shape: Shape, /) -> Vector:
    """Return the singular values of a matrix, if those are all.

    Raises
    ------
    ValueError
        When there are not min(m, n) of them, in descending order.
    """
    if s.shape != (min(shape),):
        raise ValueError(f"{s.shape} singular values of a {shape} matrix")
    if np.any(s[:-1] < s[1:]):
        raise ValueError("singular values are not in descending order")
    return s


def norms(s: Vector, shape: Shape, /, *, eps: float) -> Norms:
    r"""Return the norms and ranks of a matrix.

    Parameters
    ----------
    s
        All min(m, n) singular values, descending.
    shape
        (m, n).
    eps
        Machine epsilon of the dtype the weights are stored in.

    Raises
    ------
    ValueError
        When the values are not all of them, or not in descending order.

    Notes
    -----
    :math:`\sigma_i` counts for `Norms.hard_rank` above
    :math:`\max(m, n) \, \epsilon \, \sigma_1`, the convention of
    `numpy.linalg.matrix_rank`. That of float64, in which values are computed,
    would count the rounding errors of narrower weights.
    """
    first = float(whole(s, shape)[0])
    if first == 0:
        return _ZERO
    scale = power_of_two(s)
    squares = (s * scale) ** 2
    energy = float(np.sum(squares))
    # Of the unscaled values the square would overflow, or be 0.
    frobenius = math.sqrt(energy) / scale
    shares = squares / energy
    return Norms(
        frobenius=frobenius,
        sv_max=first,
        nuclear=float(np.sum(s)),
        log_norm=2 * math.log10(frobenius),
        log_spectral_norm=2 * math.log10(first),
        stable_rank=energy / float(squares[0]),
        effective_rank=math.exp(float(np.sum(entr(shares)))),
        participation_ratio=1 / float(np.sum(shares**2)),
        hard_rank=int(np.count_nonzero(s > max(shape) * eps * first)),
    )
