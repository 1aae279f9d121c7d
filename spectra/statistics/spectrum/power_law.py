"""The power law that the tail of a spectrum follows best."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["PowerLaw", "fit_power_law"]

Vector = NDArray[np.float64]

# WeightWatcher 0.7 leaves out layers with fewer eigenvalues (its
# `DEFAULT_MIN_EVALS`): alpha has an error of a third of alpha - 1 there.
FEWEST = 8

# Entries of the table of candidates and values that are held at once: some
# 8 MiB, of which a handful is alive together.
BLOCK = 2**20


@dataclass(frozen=True, slots=True)
class PowerLaw:
    r"""A fit of :math:`p(x) \propto x^{-\alpha}` for x at or above xmin.

    Attributes
    ----------
    alpha
        The exponent; None, as the next three, unless `status` is OK.
    xmin
        Where the tail begins: one of the values.
    D
        Distance of Kolmogorov and Smirnov between the tail and the law.
    sigma
        Standard error of `alpha`, for an xmin known beforehand.
    n_tail
        How many values lie at or above `xmin`; 0 without one.
    status
        OK; TOO_FEW, less than eight positive values; FLAT, they are equal up
        to rounding; NO_FIT, less than two places for xmin to choose from.
    """

    alpha: float | None
    xmin: float | None
    D: float | None
    sigma: float | None
    n_tail: int
    status: str


def fit_power_law(values: Vector, /) -> PowerLaw:
    r"""Fit a power law to the tail of a spectrum, wherever it begins.

    Parameters
    ----------
    values
        Finite and non-negative, in any order: eigenvalues, or squared
        singular values. Those above zero count, each as often as it occurs;
        exact zeros are what a layer of lower rank has by construction. Who
        has rounding noise in their place cuts it off first.

    Returns
    -------
    PowerLaw
        Of all tails the one nearest to its own law; of equally near ones the
        longest. A status says why there is none.

    Notes
    -----
    For a tail of n values, :math:`\alpha = 1 + n / \sum \log(x / x_{min})`
    maximises the likelihood, :math:`\sigma = (\alpha - 1) / \sqrt n`, and
    :math:`D = \max |S(x) - (x / x_{min})^{1 - \alpha}|` over the values x,
    with S(x) the share of the tail at or above x: the gap to the lower side
    of each step, as the `powerlaw` package (2.0) and WeightWatcher take it,
    and not the larger of both sides. As there, xmin is any distinct value
    but the two largest, and there have to be two to choose from.

    Alpha is free. The package keeps it in [0, 3] unless asked for
    ``parameter_ranges={"alpha": (None, None)}``, and so begins a steeper tail
    elsewhere; and it needs a unit in which the tail is near one, or powers of
    x leave the range of a float. WeightWatcher selects xmin in another way
    from less than 20 values.

    Every spectrum has a fit, noise too: D, not alpha, tells of a power law.

    Sources: Clauset, Shalizi and Newman, "Power-law distributions in
    empirical data", SIAM Review 51 (2009) 661, equations 3.1, 3.2 and 3.9;
    Alstott, Bullmore and Plenz, "powerlaw", PLoS ONE 9 (2014) e85777.
    """
    data = np.asarray(values, dtype=np.float64).ravel()
    x, counts = np.unique(data[data > 0], return_counts=True)
    n = int(counts.sum())
    if n < FEWEST:
        return _none("TOO_FEW")
    if x[-1] - x[0] <= n * np.finfo(np.float64).eps * x[-1]:
        return _none("FLAT")
    if len(x) < 4:
        return _none("NO_FIT")
    return _nearest(x, counts)


def _none(status: str) -> PowerLaw:
    return PowerLaw(None, None, None, None, n_tail=0, status=status)


def _nearest(x: Vector, counts: NDArray[np.intp]) -> PowerLaw:
    logs = _logs(x)
    # The values at or above each distinct one.
    sizes = np.cumsum(counts[::-1])[::-1].astype(np.float64)
    # The sum of log(x / xmin) gap by gap: of positive terms alone, none of
    # which cancel where a narrow tail lies far from one.
    gaps = sizes[1:] * np.diff(logs)
    exponents = sizes[:-2] / np.cumsum(gaps[::-1])[:0:-1]
    distances = _distances(logs, sizes, exponents)
    best = int(np.argmin(distances))
    slope = float(exponents[best])
    return PowerLaw(
        alpha=1 + slope,
        xmin=float(x[best]),
        D=float(distances[best]),
        sigma=slope / float(np.sqrt(sizes[best])),
        n_tail=int(sizes[best]),
        status="OK",
    )


def _logs(x: Vector) -> Vector:
    # log(x / max x). The quotient may leave the range of a float, and its
    # logarithm has lost the digits of a value close to the largest.
    near = (x - x[-1]) / x[-1]
    mantissas, powers = np.frexp(x)
    far = np.log(mantissas / mantissas[-1])
    far += (powers - powers[-1]) * np.log(2.0)
    logs: Vector = np.where(near > -0.5, np.log1p(np.maximum(near, -0.5)), far)
    return logs


def _distances(logs: Vector, sizes: Vector, exponents: Vector) -> Vector:
    distances = np.empty(len(exponents))
    rows = max(1, BLOCK // len(logs))
    for start in range(0, len(exponents), rows):
        block = slice(start, min(start + rows, len(exponents)))
        # From the first row's xmin on; later rows begin at the diagonal.
        law = logs[block, None] - logs[None, start:]
        np.minimum(law, 0.0, out=law)
        law *= exponents[block, None]
        np.exp(law, out=law)
        law -= sizes[None, start:] / sizes[block, None]
        distances[block] = np.triu(np.abs(law, out=law)).max(axis=1)
    return distances
