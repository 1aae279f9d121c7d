"""Layers whose entries are as an initialisation leaves them.

A loader that finds no weights of the right name draws random ones and says
little about it; such a member is no witness of anything. What is told here,
is told from five numbers a matrix and its largest singular value.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spectra.subspaces.result import LayerFit, WeightStats

__all__ = [
    "ERRORS",
    "EXACT",
    "NEAR_START",
    "TELLING",
    "TESTED",
    "Starts",
    "edge",
    "fresh",
    "starts",
]

Vector = NDArray[np.float64]

ERRORS: Final = 5.0
"""Standard errors within which a statistic is what it would be by chance."""

TESTED: Final = 256
"""Fewer entries are not looked at: anything would pass."""

TELLING: Final = 8192
"""So many entries speak for themselves: their kurtosis is known within 0.27.
Of fewer, trained layers of real models pass now and then."""

NEAR_START: Final = 2.4
"""Kurtosis of a factor A below which more than 0.7 of its squared norm is
the uniform numbers that it started from; halfway to a Gaussian."""

EXACT: Final = frozenset({"zeros", "ones", "no-update"})
"""What is seen at once, however few the entries are."""

# Mean and standard deviation of the Tracy-Widom law of order one.
_MEAN, _STD = -1.2065336, 1.2679813


@dataclass(frozen=True, slots=True)
class _Law:
    """A distribution from which initial entries are drawn.

    Attributes
    ----------
    spread
        D times the variance of the kurtosis of D entries: with z of unit
        variance, E z^8 - 4 b E z^6 + 4 b^3 - b^2, b the kurtosis E z^4.
    """

    name: str
    kurtosis: float
    spread: float

    def fits(self, kurtosis: Vector, sizes: Vector) -> NDArray[np.bool_]:
        """Return where so many entries may come from it."""
        error = np.sqrt(self.spread / sizes)
        near: NDArray[np.bool_] = (
            np.abs(kurtosis - self.kurtosis) <= ERRORS * error
        )
        return near

    def has_std(
        self, std: Vector, expected: Vector, sizes: Vector
    ) -> NDArray[np.bool_]:
        """Return where the standard deviation is the expected one."""
        error = np.sqrt((self.kurtosis - 1) / (4 * sizes))
        near: NDArray[np.bool_] = np.abs(std / expected - 1) <= ERRORS * error
        return near


_GAUSSIAN = _Law("gaussian", 3.0, 24.0)
_UNIFORM = _Law("uniform", 1.8, 1152 / 875)


def edge(layer: LayerFit, stats: WeightStats, /) -> Vector:
    r"""Return how far each largest singular value is from that of noise.

    Parameters
    ----------
    layer
        Of full weights.
    stats
        Of the same entries.

    Returns
    -------
    numpy.ndarray
        N values, in standard deviations; NaN for a constant.

    Notes
    -----
    For entries of variance :math:`\sigma^2`, whatever their law, the square
    of the largest singular value lies at the Marchenko-Pastur edge,
    :math:`\sigma^2 (\sqrt{m - 1} + \sqrt n)^2`, within the width
    :math:`\sigma^2 (\sqrt{m - 1} + \sqrt n)
    (1 / \sqrt{m - 1} + 1 / \sqrt n)^{1/3}` of the Tracy-Widom law (Johnstone
    2001).
    """
    m, n = np.sqrt(max(layer.shape) - 1), np.sqrt(min(layer.shape))
    width = (m + n) * (1 / m + 1 / n) ** (1 / 3)
    ratio = _over(layer.singular_values[:, 0], stats.std) ** 2
    scaled: Vector = (ratio - (m + n) ** 2) / width
    return (scaled - _MEAN) / _STD


def _over(values: Vector, scale: Vector) -> Vector:
    ratio = np.full(values.shape, np.nan)
    np.divide(values, scale, out=ratio, where=scale > 0)
    return ratio


def fresh(layer: LayerFit, stats: WeightStats, /) -> list[str | None]:
    """Return why each member's layer looks freshly initialised, if it does.

    Parameters
    ----------
    layer
        One layer of a fit.
    stats
        How its stored entries are distributed.

    Returns
    -------
    list
        ``"zeros"``, ``"ones"``, ``"no-update"`` (of an adapter: B @ A is 0),
        ``"gaussian"``, ``"uniform"`` or None.

    Notes
    -----
    Random entries have the kurtosis of their law, the mean 0 and, where the
    weights are whole, a largest singular value at the `edge`. Of differences
    from a base the singular values are known, but not those of the weights:
    there the entries alone decide.
    """
    if layer.kind == "low-rank":
        still = layer.singular_values[:, 0] == 0
        return ["no-update" if zero else None for zero in still]
    size = np.array(float(layer.shape[0] * layer.shape[1]))
    random = np.abs(stats.mean) <= ERRORS * stats.std / np.sqrt(size)
    if layer.kind == "dense":
        random &= np.abs(edge(layer, stats)) <= ERRORS
    signs = {
        "zeros": stats.zeros == 1,
        "ones": stats.ones == 1,
        _GAUSSIAN.name: random & _GAUSSIAN.fits(stats.kurtosis, size),
        _UNIFORM.name: random & _UNIFORM.fits(stats.kurtosis, size),
    }
    return [
        next((name for name, seen in signs.items() if seen[row]), None)
        for row in range(len(layer.members))
    ]


@dataclass(frozen=True, slots=True)
class Starts:
    r"""The factors A of a layer beside the numbers they started from.

    Attributes
    ----------
    untouched
        Where A is what an initialisation draws: uniform within
        :math:`1/\sqrt{d_{in}}` (PEFT, kohya), or normal with the standard
        deviation 1 / r (diffusers, PEFT's ``gaussian``).
    moved
        :math:`\|A - A_0\| / \|A_0\|` by the kurtosis; NaN where it is not
        below `NEAR_START`.
    """

    untouched: NDArray[np.bool_]
    moved: Vector


def starts(layer: LayerFit, stats: WeightStats, /) -> Starts:
    r"""Return how near the raw factors A are to a random start.

    Parameters
    ----------
    layer
        Of adapters.
    stats
        Of their factors A.

    Notes
    -----
    Where training added to the uniform :math:`A_0` what is independent of it,
    Gaussian, and :math:`\rho` times its square,
    :math:`3 - \kappa = 1.2 / (1 + \rho)^2`.
    """
    if layer.initial is None:
        raise AssertionError("adapters have factors")
    width = layer.shape[1]
    # Zero factors have no start; their number of entries is not known.
    sizes = _over(np.diagonal(layer.initial), stats.std**2 + stats.mean**2)
    kurtosis, std = stats.kurtosis, stats.std
    uniform = _UNIFORM.fits(kurtosis, sizes) & _UNIFORM.has_std(
        std, np.array(1 / np.sqrt(3 * width)), sizes
    )
    gaussian = _GAUSSIAN.fits(kurtosis, sizes) & _GAUSSIAN.has_std(
        std, width / sizes, sizes
    )
    near = np.where(kurtosis < NEAR_START, kurtosis, np.nan)
    added = np.maximum(np.sqrt(1.2 / (3 - near)) - 1, 0.0)
    return Starts(uniform | gaussian, np.sqrt(added))
