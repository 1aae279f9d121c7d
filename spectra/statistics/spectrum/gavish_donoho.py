"""How many singular values are worth keeping, in noise of unknown size.

Gavish and Donoho, The optimal hard threshold for singular values is 4/sqrt(3),
IEEE Transactions on Information Theory 60 (2014): as matrices grow around a
signal of fixed rank, no other threshold has a lesser mean squared error,
whatever the signal is.
"""

import math

import numpy as np
from numpy.typing import NDArray

from spectra.statistics.spectrum.marchenko_pastur import mp_median
from spectra.statistics.spectrum.norms import whole

__all__ = [
    "hard_threshold",
    "known_noise",
    "optimal_rank",
    "unknown_noise",
]

Vector = NDArray[np.float64]
Shape = tuple[int, int]


def known_noise(beta: float, /) -> float:
    r"""Return :math:`\lambda_*`, the threshold of noise of a known size.

    Parameters
    ----------
    beta
        min(m, n) / max(m, n).

    Returns
    -------
    float
        In :math:`\sqrt{\max(m, n)}` standard deviations of the noise entries:
        :math:`4 / \sqrt 3` of a square matrix.
    """
    root = math.sqrt(beta**2 + 14 * beta + 1)
    return math.sqrt(2 * (beta + 1) + 8 * beta / (beta + 1 + root))


def unknown_noise(beta: float, /) -> float:
    r"""Return :math:`\omega`, the threshold in median singular values.

    Notes
    -----
    :math:`\omega(\beta) = \lambda_*(\beta) / \sqrt{\mu_\beta}` with the
    median :math:`\mu_\beta` of the Marchenko-Pastur law, found numerically;
    their cubic approximation, :math:`0.56 \beta^3 - 0.95 \beta^2 + 1.82
    \beta + 1.43`, is within 0.02 of it.
    """
    return known_noise(beta) / math.sqrt(mp_median(beta))


def hard_threshold(s: Vector, shape: Shape, /) -> float:
    """Return the value above which singular values are kept.

    Parameters
    ----------
    s
        All min(m, n) singular values, descending.
    shape
        (m, n).

    Raises
    ------
    ValueError
        When the values are not all of them, or not in descending order.
    """
    median = float(np.median(whole(s, shape)))
    return unknown_noise(min(shape) / max(shape)) * median


def optimal_rank(s: Vector, shape: Shape, /) -> int:
    """Return how many singular values are above the optimal hard threshold.

    Where more than half are 0, there is no noise and all others are kept.
    """
    return int(np.count_nonzero(s > hard_threshold(s, shape)))
