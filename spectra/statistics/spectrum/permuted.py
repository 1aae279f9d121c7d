r"""A spectrum beside that of the same entries in random order.

What stands out of noise may be directions, or a few large entries. In random
order the entries are as large as before and the directions are gone.
"""

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import rel_entr

from spectra.linalg.spectrum import Spectrum
from spectra.statistics.plain import with_reason
from spectra.statistics.spectrum.marchenko_pastur import (
    MarchenkoPastur,
    fit_mp,
    noise_reach,
)

__all__ = ["RANDOMISED", "beside_permuted", "not_permuted"]

Document = dict[str, Any]
Shape = tuple[int, int]
Vector = NDArray[np.float64]

RANDOMISED: Final = (
    "max_rand_eval", "rand_distance", "rand_num_spikes", "rand_sigma_mp",
    "rand_mp_softrank", "ww_softrank", "ww_maxdist", "num_above_rand",
)  # fmt: skip
"""The numbers of the comparison, in the order of a table."""

_ZERO = "all weights are zero"


def beside_permuted(
    own: Spectrum, permuted: Spectrum, shape: Shape, /
) -> Document:
    r"""Return the numbers of `RANDOMISED`, None with a reason of zeros.

    Parameters
    ----------
    own
        Of the layer; of an adapter's update as many values as its rank.
    permuted
        Of its entries in random order, all min(m, n) values.
    shape
        (m, n).

    Notes
    -----
    Seven are WeightWatcher's. Its ``rand_distance`` is the distance of Jensen
    and Shannon between two lists of shares, :math:`\lambda_i / \sum_j
    \lambda_j` in order of size, each value beside the one of its place: not
    between two densities.
    """
    s = np.zeros(min(shape))
    s[: len(own.s)] = own.s
    if s[0] == 0:
        return not_permuted(_ZERO)
    law = fit_mp(permuted.s, shape)
    most, most_permuted = float(s[0]) ** 2, float(permuted.s[0]) ** 2
    values = (
        most_permuted,
        _distance(s, permuted.s),
        law.num_spikes,
        law.sigma_mp,
        law.mp_softrank,
        most_permuted / most,
        most - most_permuted,
        _above(own, law, shape),
    )
    return dict(zip(RANDOMISED, values, strict=True))


def not_permuted(reason: str, /) -> Document:
    """Return `RANDOMISED` without numbers, and why."""
    entries = [with_reason(name, None, reason) for name in RANDOMISED]
    return {key: value for entry in entries for key, value in entry.items()}


def _distance(s: Vector, permuted: Vector) -> float:
    p, q = (values**2 / np.sum(values**2) for values in (s, permuted))
    middle = (p + q) / 2
    twice = float(np.sum(rel_entr(p, middle) + rel_entr(q, middle)))
    return math.sqrt(max(0.0, twice) / 2)


def _above(own: Spectrum, law: MarchenkoPastur, shape: Shape) -> int:
    m, n = (side - law.num_spikes for side in shape)
    edge = max(noise_reach(law.sigma, m, n), own.floor)
    return int(np.count_nonzero(own.s > edge))
