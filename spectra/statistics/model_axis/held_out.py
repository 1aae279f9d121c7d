"""Members judged by the others: leave one group out, without any weights.

A direction of the training span is a combination of training members, so
that inner products are all that projections need.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectra.linalg.solvers import eigh, eigvalsh
from spectra.statistics.model_axis.leave_one_out import leave_one_out
from spectra.statistics.vectors import Matrix, Vector, centred

__all__ = ["HeldOut", "Seen", "hold_out", "seen_by_others"]

_MANY = 64
"""From so many members one secular equation is faster than N folds."""


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
    basis_only
        What the first k directions hold of `energy`, the others' mean not
        taken off; NaN where that was not computed.
    """

    levels: tuple[int, ...]
    energy: Vector
    deviation: Vector
    captured: Matrix
    secondary: Matrix
    random: Matrix
    basis_only: Matrix

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
    membership = np.array(labels)
    outs = [membership == group for group in dict.fromkeys(labels)]
    if len(outs) < 2:
        return None
    h = _beside_mean(K, energies)
    alone = _alone(K, h, outs, levels, floor)
    rows = []
    for out in outs:
        seen = alone.get(int(np.argmax(out))) or seen_by_others(
            K, h, out, floor
        )
        rows.append([energies[out].sum(), *_by_level(seen, levels)])
    table = np.array(rows)
    return HeldOut(
        tuple(levels),
        table[:, 0],
        table[:, 1],
        *np.split(table[:, 2:], 4, axis=1),
    )


def _beside_mean(K: Matrix, energies: Vector) -> Vector:
    """Return <d_i, m>: ||d_i + m||^2 less ||d_i||^2 and what all share."""
    twice = energies - np.diagonal(K)
    beside: Vector = (twice - twice.mean()) / 2
    return beside


@dataclass(frozen=True, slots=True)
class Seen:
    """A group as the others see it; NaN at levels beyond their `rank`.

    Attributes
    ----------
    deviation
        Sum of its squared distances from the others' mean.
    sums
        What no, one, two, ... of the others' directions hold of it.
    basis_only
        What they hold of its squared norm.
    total
        What all `rank` of them hold.
    """

    deviation: float
    sums: Vector
    basis_only: Vector
    total: float
    rank: int

    def captured(self, levels: Sequence[int], /) -> list[float]:
        """Return what the first k directions hold of `deviation`."""
        return self._at(levels, lambda k: self.sums[k])

    def secondary(self, levels: Sequence[int], /) -> list[float]:
        """Return what directions k + 1 to 2 k hold."""
        return self._at(
            levels, lambda k: self.sums[2 * k] - self.sums[k], times=2
        )

    def random(self, levels: Sequence[int], /) -> list[float]:
        """Return what k random directions of the span hold, on average."""
        return self._at(levels, lambda k: self.total * k / self.rank)

    def whole(self, levels: Sequence[int], /) -> list[float]:
        """Return what the first k directions hold of the squared norm."""
        return self._at(levels, lambda k: self.basis_only[k])

    def _at(
        self,
        levels: Sequence[int],
        value: Callable[[int], float],
        times: int = 1,
    ) -> list[float]:
        return [
            float(value(k)) if times * k <= self.rank else float("nan")
            for k in levels
        ]


def seen_by_others(
    K: Matrix, h: Vector, out: NDArray[np.bool_], floor: float, /
) -> Seen:
    """Return some of the vectors as the others see them.

    Parameters
    ----------
    K
        Inner products of all, less any one vector.
    h
        Those with that vector, less what all have of it.
    out
        Which are judged by the others.
    floor
        Directions of the others' span with less are noise.
    """
    training, cross = K[np.ix_(~out, ~out)], K[np.ix_(out, ~out)]
    means, mean = training.mean(axis=0), training.mean()
    to_mean = cross.mean(axis=1)
    deviation = np.diagonal(K)[out] - 2 * to_mean + mean
    cross = cross - to_mean[:, None] - means + mean
    eigenvalues, vectors = eigh(centred(training))
    # Centring leaves one eigenvalue zero, the first up to rounding.
    eigenvalues, vectors = eigenvalues[:0:-1], vectors[:, :0:-1]
    kept = eigenvalues > floor
    directions = vectors[:, kept] / np.sqrt(eigenvalues[kept])
    scores = cross @ directions
    sums = _running(np.sum(scores**2, axis=0))
    # Coefficients of a direction sum to zero, so that ||m||^2 drops out.
    of_mean = (means + h[~out]) @ directions
    whole = _running(np.sum((scores + of_mean) ** 2, axis=0))
    rank = len(sums) - 1
    return Seen(float(deviation.sum()), sums, whole, float(sums[-1]), rank)


def _running(powers: Vector) -> Vector:
    return np.concatenate(([0.0], np.cumsum(powers)))


def _alone(
    K: Matrix,
    h: Vector,
    outs: Sequence[NDArray[np.bool_]],
    levels: Sequence[int],
    floor: float,
) -> dict[int, Seen]:
    """Return the members that are a group alone, where one solution does.

    It needs every direction above the floor: then so are the others'.
    """
    n = len(K)
    single = [int(np.argmax(out)) for out in outs if out.sum() == 1]
    if n < _MANY or not single or eigvalsh(K)[1] <= floor:
        return {}
    found = leave_one_out(K, h, min(n - 2, 2 * max(levels)))
    # From the others' mean a member lies N / (N - 1) as far as from all's.
    deviations = np.diagonal(K) * (n / (n - 1)) ** 2
    return {
        i: Seen(
            float(deviations[i]), _running(found.powers[i]),
            _running(found.whole[i]), float(found.total[i]), n - 2,
        )
        for i in single
        if found.is_solved[i]
    }  # fmt: skip


def _by_level(seen: Seen, levels: Sequence[int]) -> list[float]:
    return [
        seen.deviation,
        *seen.captured(levels),
        *seen.secondary(levels),
        *seen.random(levels),
        *seen.whole(levels),
    ]
