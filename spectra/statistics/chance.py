"""What random subspaces have in common, exactly."""

import math

__all__ = ["random_overlap"]


def random_overlap(k: int, m: int, d: int, /) -> tuple[float, float]:
    r"""Return mean and standard deviation of the overlap of random subspaces.

    Parameters
    ----------
    k, m
        Their dimensions.
    d
        Of the space.

    Notes
    -----
    For independent uniform subspaces the trace of the product of the two
    projectors has mean :math:`km/d` and variance
    :math:`2km(d-k)(d-m) / (d^2(d-1)(d+2))`; the overlap is it over min(k, m).
    """
    fewer = min(k, m)
    if d < 2:
        return 1.0, 0.0
    variance = 2 * k * m * (d - k) * (d - m) / (d**2 * (d - 1) * (d + 2))
    return max(k, m) / d, math.sqrt(variance) / fewer
