r"""The singular values that noise would have, and those that stand out of it.

An m x n matrix of independent entries of variance :math:`\sigma^2` has
singular values s whose :math:`x = s^2 / (\sigma^2 \max(m, n))` follow the law
of Marchenko and Pastur with the ratio q = min(m, n) / max(m, n). Here it is a
law of x, as of a correlation matrix; edges of a fit are in the unit of s.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import gammaincc, gammainccinv

from spectra.statistics.spectrum.norms import whole

__all__ = [
    "LEVEL",
    "MarchenkoPastur",
    "edge_law",
    "fit_mp",
    "mp_cdf",
    "mp_density",
    "mp_edges",
    "mp_median",
    "mp_quantile",
    "noise_reach",
    "ratio_p",
    "tracy_widom_sf",
]

Vector = NDArray[np.float64]
Shape = tuple[int, int]

LEVEL: Final = 0.01
"""Chance that the largest value of noise is taken for a spike."""

# Shape, scale and shift of the gamma law whose first three moments are those
# of the Tracy-Widom law of order one (Chiani 2014).
_SHAPE, _SCALE, _SHIFT = 46.446, 0.186054, 9.84801


def mp_edges(sigma: float, m: int, n: int, /) -> tuple[float, float]:
    """Return the least and largest singular value of noise, in the limit.

    Parameters
    ----------
    sigma
        Standard deviation of the entries.
    m, n
        Rows and columns, in either order.
    """
    a, b = math.sqrt(m), math.sqrt(n)
    return sigma * abs(a - b), sigma * (a + b)


def mp_density(x: Vector, q: float, /) -> Vector:
    r"""Return the density of the law.

    Parameters
    ----------
    x
        Eigenvalues for unit variance, :math:`s^2 / \max(m, n)`.
    q
        Above 0, at most 1.

    Notes
    -----
    :math:`\sqrt{(b - x)(x - a)} / (2 \pi q x)` between the edges
    :math:`a, b = (1 \mp \sqrt q)^2` (Marchenko and Pastur 1967), 0 outside.
    """
    a, b = (1 - math.sqrt(q)) ** 2, (1 + math.sqrt(q)) ** 2
    density = np.zeros_like(x)
    inside = (x > a) & (x < b)
    y = x[inside]
    density[inside] = np.sqrt((b - y) * (y - a)) / (2 * math.pi * q * y)
    return density


def mp_cdf(x: Vector, q: float, /) -> Vector:
    """Return the share of the law at or below x, as in `mp_density`."""
    r = math.sqrt(q)
    share = np.clip((x - (1 - r) ** 2) / (4 * r), 0.0, 1.0)
    # The half angle: the cosine itself would lose half the digits near 0.
    return _share(2 * np.arcsin(np.sqrt(share)), q)


def _share(angle: Vector, q: float) -> Vector:
    r"""Return the share of the law below :math:`1 + q - 2 \sqrt q \cos t`.

    Notes
    -----
    There the density of t is :math:`2 \sin^2 t / (\pi x)`, a Poisson kernel,
    and its integral elementary; the difference stays exact for small q.
    """
    r = math.sqrt(q)
    rise = r * np.sin(angle)
    turn = np.arctan2(rise, 1 - r * np.cos(angle))
    share: Vector = (angle + (rise - (1 - q) * turn) / q) / math.pi
    return share


def mp_quantile(p: float, q: float, /) -> float:
    """Return the x at or below which lies the share p of the law."""
    angle = brentq(
        lambda t: _share(t, q) - p, 0.0, math.pi, xtol=1e-15, rtol=1e-14
    )
    r = math.sqrt(q)
    return float((1 - r) ** 2 + 4 * r * math.sin(angle / 2) ** 2)


def mp_median(q: float, /) -> float:
    r"""Return the median of the law, Gavish and Donoho's :math:`\mu_\beta`."""
    return mp_quantile(0.5, q)


def edge_law(m: int, n: int, /) -> tuple[float, float]:
    r"""Return centre and width of the largest squared value of noise.

    Notes
    -----
    For unit variance :math:`(s_1^2 - \mu) / w` follows the Tracy-Widom law of
    order one (Johnstone 2001). With :math:`a = \sqrt{m - 1/2}` and
    :math:`b = \sqrt{n - 1/2}`, :math:`\mu = (a + b)^2` and
    :math:`w = (a + b)(1/a + 1/b)^{1/3}`: the constants of Ma (2012), whose
    error is of order :math:`\min(m, n)^{-2/3}` where that of Johnstone's is
    the square root of it.
    """
    a, b = math.sqrt(m - 0.5), math.sqrt(n - 0.5)
    return (a + b) ** 2, (a + b) * (1 / a + 1 / b) ** (1 / 3)


def tracy_widom_sf(x: float, /) -> float:
    """Return the chance of more than x in the Tracy-Widom law of order one.

    Notes
    -----
    By the gamma law of Chiani (2014, Distribution of the largest eigenvalue
    for real Wishart and Gaussian random matrices and a simple approximation
    for the Tracy-Widom distribution), within 0.0012.
    """
    y = max(0.0, (x + _SHIFT) / _SCALE)
    return float(gammaincc(_SHAPE, y))


def noise_reach(sigma: float, m: int, n: int, /) -> float:
    """Return what the largest singular value of noise exceeds by `LEVEL`.

    Parameters
    ----------
    sigma
        Standard deviation of the entries, known beforehand.
    m, n
        Rows and columns, in either order.
    """
    centre, width = edge_law(m, n)
    x = _SCALE * float(gammainccinv(_SHAPE, LEVEL)) - _SHIFT
    return sigma * math.sqrt(centre + width * x)


def _slope(x: float) -> float:
    """Return the derivative of the density of that gamma law."""
    y = (x + _SHIFT) / _SCALE
    if y <= 0:
        return 0.0
    log = (_SHAPE - 1) * math.log(y) - y - math.lgamma(_SHAPE)
    return math.exp(log) * ((_SHAPE - 1) / y - 1) / _SCALE**2


def ratio_p(s: Vector, m: int, n: int, /) -> float:
    r"""Return the chance that noise has so large a first singular value.

    Parameters
    ----------
    s
        All min(m, n) values, the first the largest and not 0.
    m, n
        Rows and columns, in either order.

    Notes
    -----
    The size of the noise is taken from the same values, as
    :math:`\hat\sigma^2 = \sum s_i^2 / (mn)`, which has the variance
    :math:`2 / (mn)` and is independent of the ratio
    :math:`s_1^2 / \hat\sigma^2`; so the law of the ratio is
    :math:`F - (\mu / w)^2 F'' / (mn)`, F that of Tracy and Widom (Nadler
    2011, On the distribution of the ratio of the largest eigenvalue to the
    trace of a Wishart matrix).
    """
    centre, width = edge_law(m, n)
    ratio = m * n / float(np.sum((s / s[0]) ** 2))
    x = (ratio - centre) / width
    excess = (centre / width) ** 2 / (m * n) * _slope(x)
    return min(1.0, max(0.0, tracy_widom_sf(x) + excess))


@dataclass(frozen=True, slots=True)
class MarchenkoPastur:
    r"""The law of the bulk of a spectrum, and what is outside of it.

    Attributes
    ----------
    sigma
        Standard deviation of the entries of the noise. Not its square: of
        values that are numbers, that may be none.
    sigma_mp
        The same in root mean squares of all entries, as WeightWatcher has it:
        1 of noise alone; None of zeros.
    lower, upper
        Edges of the bulk, in the unit of singular values.
    num_spikes
        Values above the upper edge and the fluctuations of noise there.
    edge_p
        Chance of a largest value such as this in noise; None of zeros and of
        a single value. Below `LEVEL` where there are spikes, and only there.
    mp_softrank
        :math:`(upper / s_1)^2`; None of zeros.
    ks
        Kolmogorov-Smirnov distance between the bulk and the law; None without
        noise. Singular values repel each other: that of noise is of order
        1 / min(m, n), far below what independent values would have.
    """

    sigma: float
    sigma_mp: float | None
    lower: float
    upper: float
    num_spikes: int
    edge_p: float | None
    mp_softrank: float | None
    ks: float | None

    @property
    def bulk_min(self) -> float:
        """Return the lower edge as an eigenvalue, not divided by a side."""
        return self.lower * self.lower

    @property
    def bulk_max(self) -> float:
        """Return the upper edge as an eigenvalue, not divided by a side."""
        return self.upper * self.upper


def fit_mp(s: Vector, shape: Shape, /) -> MarchenkoPastur:
    r"""Return the Marchenko-Pastur law of the bulk of a spectrum.

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

    Notes
    -----
    What k spikes leave, is noise of m - k rows and n - k columns:
    :math:`\hat\sigma_k^2 = \sum_{i > k} s_i^2 / ((m - k)(n - k))`, and value
    k + 1 is one more spike where `ratio_p` of values k + 1 and below is less
    than `LEVEL` (Kritchman and Nadler 2009, Non-parametric detection of the
    number of signals). Many equal spikes would hide in their own mean: the
    first k is the count above the edge by the median, which up to half of the
    values cannot move far (Gavish and Donoho 2014). From there k goes down to
    the first that is a spike (Rosner 1983 on many outliers), or up while the
    next is one.

    Of noise, and behind spikes, the mean square is twice as exact as the
    median: with it 1 to 2 % of matrices of noise have a spike, with the
    median 5 % of square ones below 100 x 100. Power laws added to noise give
    both the same sigma within 2 %, entries of Student's law with 3 degrees of
    freedom too. Where 1 % of the entries are 20 times larger, there is no one
    bulk: the median gives up to 16 % less.
    """
    m, n = shape
    if whole(s, shape)[0] == 0:
        return MarchenkoPastur(0.0, None, 0.0, 0.0, 0, None, None, None)
    k = _spikes(s, m, n)
    sigma = _sigma(s[k:], m - k, n - k)
    lower, upper = mp_edges(sigma, m - k, n - k)
    first = float(s[0])
    return MarchenkoPastur(
        sigma=sigma,
        sigma_mp=sigma / _sigma(s, m, n),
        lower=lower,
        upper=upper,
        num_spikes=k,
        edge_p=_edge_p(s, k, shape),
        mp_softrank=(upper / first) ** 2,
        ks=_distance(s[k:], sigma, (m - k, n - k)) if sigma > 0 else None,
    )


def _sigma(s: Vector, m: int, n: int) -> float:
    first = float(s[0])
    if first == 0:
        return 0.0
    # Squares of ratios: those of the values may be no numbers.
    return first * math.sqrt(float(np.sum((s / first) ** 2)) / (m * n))


def _spikes(s: Vector, m: int, n: int) -> int:
    def is_spike(k: int) -> bool:
        # The last value has no noise to be compared with.
        if k + 1 >= len(s) or s[k] == 0:
            return False
        return ratio_p(s[k:], m - k, n - k) < LEVEL

    q = min(m, n) / max(m, n)
    edge = np.median(s) * (1 + math.sqrt(q)) / math.sqrt(mp_median(q))
    k = int(np.count_nonzero(s > edge))
    while k > 0 and not is_spike(k - 1):
        k -= 1
    while is_spike(k):
        k += 1
    return k


def _edge_p(s: Vector, k: int, shape: Shape) -> float | None:
    """Return the chance of the largest value beside the bulk alone."""
    if len(s) < 2:
        return None
    others = max(k, 1) - 1
    kept = np.delete(s, np.arange(1, others + 1))
    return ratio_p(kept, shape[0] - others, shape[1] - others)


def _distance(s: Vector, sigma: float, shape: Shape) -> float:
    size = len(s)
    scaled = (s[::-1] / sigma) ** 2 / max(shape)
    law = mp_cdf(scaled, min(shape) / max(shape))
    above = np.arange(1, size + 1) / size - law
    return float(max(np.max(above), np.max(1 / size - above)))
