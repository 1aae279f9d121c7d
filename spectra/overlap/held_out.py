"""Members judged by the others: leave one group out, without any weights.

A direction of the training span is a combination of training members, so
that inner products are all that projections need.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectra.overlap.vectors import Matrix, Vector, centred

__all__ = ["HeldOut", "hold_out"]


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Sums over the held-out members of each group, one row a group.

    Sums, not ratios: a resample of groups is a weighted sum of rows. A level
    is NaN where the training span has fewer directions than it asks for.

    Attributes
    ----------
    levels
        The k of the columns.
    energy
        Sum of squared norms, the common part included.
    deviation
        Sum of squared distances from the others' mean.
    captured
        What the others' first k directions hold of `deviation`.
    secondary
        What directions k + 1 to 2 k hold.
    random
        What k random directions of the others' span hold, on average.
    """

    levels: tuple[int, ...]
    energy: Vector
    deviation: Vector
    captured: Matrix
    secondary: Matrix
    random: Matrix

    @property
    def folds(self) -> int:
        """Return the number of groups."""
        return len(self.energy)


def hold_out(
    K: Matrix,
    energies: Vector,
    labels: Sequence[int],
    /,
    *,
    levels: Sequence[int],
    floor: float,
) -> HeldOut | None:
    """Return each group as the others see it, None for fewer than two groups.

    Parameters
    ----------
    K
        Inner products of the deviations.
    energies
        Squared norms of the members themselves.
    labels
        The group of each member.
    levels
        Numbers of directions.
    floor
        Directions of the training span with less are noise.
    """
    groups = list(dict.fromkeys(labels))
    if len(groups) < 2:
        return None
    membership = np.array(labels)
    rows = []
    for group in groups:
        out = membership == group
        deviation, powers = _fold(K, out, floor)
        rows.append(
            np.concatenate(
                ([energies[out].sum(), deviation], _by_level(powers, levels))
            )
        )
    table = np.array(rows)
    captured, secondary, random = np.split(table[:, 2:], 3, axis=1)
    return HeldOut(
        tuple(levels), table[:, 0], table[:, 1], captured, secondary, random
    )


def _fold(
    K: Matrix, out: NDArray[np.bool_], floor: float
) -> tuple[float, Vector]:
    """Return the deviation of those out and what each direction holds."""
    training = K[np.ix_(~out, ~out)]
    cross = K[np.ix_(out, ~out)]
    means, mean = training.mean(axis=0), training.mean()
    to_mean = cross.mean(axis=1)
    deviation = np.diagonal(K)[out] - 2 * to_mean + mean
    cross = cross - to_mean[:, None] - means + mean
    eigenvalues, vectors = np.linalg.eigh(centred(training))
    # Centring leaves one eigenvalue zero, the first up to rounding.
    eigenvalues, vectors = eigenvalues[:0:-1], vectors[:, :0:-1]
    kept = eigenvalues > floor
    scores = cross @ vectors[:, kept] / np.sqrt(eigenvalues[kept])
    return float(deviation.sum()), np.sum(scores**2, axis=0)


def _by_level(powers: Vector, levels: Sequence[int]) -> list[float]:
    rank = len(powers)
    sums = np.concatenate(([0.0], np.cumsum(powers)))
    nan = float("nan")
    captured = [sums[k] if k <= rank else nan for k in levels]
    secondary = [
        sums[2 * k] - sums[k] if 2 * k <= rank else nan for k in levels
    ]
    random = [sums[-1] * k / rank if k <= rank else nan for k in levels]
    return captured + secondary + random
