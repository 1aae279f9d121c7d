"""How alike members of two populations are on one side of a layer.

Notes
-----
The overlap of the leading directions of two members is the mean squared
cosine of their principal angles; its excess over chance c is
(overlap - c) / (1 - c). Labels are permuted as on the model axis.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spectra.statistics.populations.crossed import Divisions, Labels
from spectra.statistics.sides.side import Side
from spectra.statistics.vectors import Matrix, Vector

__all__ = ["SideContrast", "contrast"]

_TIE = 1e-9


@dataclass(frozen=True, slots=True)
class SideContrast:
    """Mean excess overlap of members of different groups.

    Attributes
    ----------
    between
        Of a member of each population.
    within
        Of two members of a, and of b; NaN where there is no such pair.
    p
        (1 + draws with at most as much between) / (1 + draws); NaN for no
        draws.
    """

    between: float
    within: tuple[float, float]
    p: float


def contrast(
    side: Side,
    parts: tuple[Sequence[int], Sequence[int]],
    labels: Labels,
    divisions: Divisions,
    /,
) -> SideContrast | None:
    """Return two populations beside each other on one side.

    Parameters
    ----------
    side
        Of the layer with all members.
    parts
        Places in the order of ids of the members of a and of b.
    labels
        The group of each, those of a first.
    divisions
        (draws, members): whether one is in the first of two parts.

    Returns
    -------
    SideContrast or None
        None where no pair has directions that could differ.
    """
    a, b = parts
    places = [side.order[place] for place in (*a, *b)]
    overlap = side.fit.overlap[np.ix_(places, places)]
    excess, known = _excess(overlap, side.layer.ranks[places], side.dimension)
    known &= labels[:, None] != labels[None, :]
    sums, counts = np.where(known, excess, 0.0), known.astype(float)
    n = len(a)
    if not counts[:n, n:].any():
        return None
    between = _mean(sums[:n, n:], counts[:n, n:])
    drawn = _between(sums, counts, divisions.astype(float))
    below = np.count_nonzero(drawn <= between + _TIE)
    return SideContrast(
        between=between,
        within=(
            _mean(sums[:n, :n], counts[:n, :n]),
            _mean(sums[n:, n:], counts[n:, n:]),
        ),
        p=(1 + below) / (1 + len(drawn)) if len(drawn) else float("nan"),
    )


def _excess(
    overlap: Matrix, ranks: Labels, dimension: int
) -> tuple[Matrix, Divisions]:
    """Return each pair's excess overlap, and where there is one."""
    fewer, more = (
        np.minimum.outer(ranks, ranks),
        np.maximum.outer(ranks, ranks),
    )
    known = (fewer > 0) & (more < dimension)
    chance = np.where(known, more, 0) / dimension
    shares = overlap / np.maximum(1, fewer)
    return (shares - chance) / (1 - chance), known


def _mean(sums: Matrix, counts: Matrix) -> float:
    total = counts.sum()
    return float(sums.sum() / total) if total else float("nan")


def _between(sums: Matrix, counts: Matrix, divisions: Matrix) -> Vector:
    """Return the mean over pairs with a member in each part, by division."""
    total, pairs = (
        np.sum((divisions @ table) * (1 - divisions), axis=1)
        for table in (sums, counts)
    )
    return np.asarray(total / np.maximum(1, pairs))
