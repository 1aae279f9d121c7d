r"""Second moments of samples that are read one model at a time.

With samples :math:`Z_n` of model n and what is subtracted, M, every recipe is
the spectrum of :math:`\sum_n (Z_n - M)^\top (Z_n - M)` or, which has the same
non-zero eigenvalues, of the products of all samples with each other.

Notes
-----
The models are read twice, first for M. The formula of one reading,
:math:`\sum_n Z_n^\top Z_n - N M^\top M`, loses :math:`\epsilon \|M\|^2` of
what is left, all of it where models share a large common part. With M
subtracted first, an error :math:`\delta` of M itself adds no more than
:math:`N \delta^\top \delta`, since the differences sum to zero: it is squared
before it counts.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.core.errors import Quarantine
from spectra.subspaces.recipes.table import (
    Centring,
    Factors,
    Members,
    Part,
)

__all__ = [
    "LIMIT",
    "Survey",
    "centred",
    "features_at_once",
    "products_of",
    "second_moment",
    "survey",
]

Float = NDArray[np.float64]
Matrix = NDArray[Any]

LIMIT = 4096
"""Largest symmetric matrix that is formed: 128 MiB, some seconds to solve."""

_ENTRIES = 2**20
"""Entries of a block of all samples: 8 MiB. Two models' worth where that is
more, so that the models are read half as often as there are of them."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What the first reading of the models tells.

    Attributes
    ----------
    n_models, n_samples, feature_dim
        Of the samples of one part.
    rows
        Samples of each model.
    free
        How many independent samples there are, for what chance would give:
        those of a low-rank map are combinations of few, and a mean that is
        subtracted takes as many as it has.
    centre
        What is subtracted from each model's samples, broadcast.
    """

    n_models: int
    n_samples: int
    feature_dim: int
    rows: tuple[int, ...]
    free: int
    centre: Float


@dataclass(slots=True)
class _Sums:
    """What the models add up to.

    Attributes
    ----------
    rows, free
        Of each model: its samples, and how many of them are independent.
    total
        Sum of the samples, as much of it as the centre needs.
    """

    rows: list[int]
    free: list[int]
    width: int = 0
    total: Float | None = None

    def add(self, Z: Matrix, free: int, centring: Centring) -> None:
        s, d = Z.shape
        if self.rows and d != self.width:
            raise _mismatch(f"samples of {self.width} and of {d} features")
        if centring == "models" and self.rows and s != self.rows[0]:
            raise _mismatch(
                f"{self.rows[0]} and {s} samples a model, and no mean over"
                " models of entries that only some have"
            )
        self.width = d
        self.rows.append(s)
        self.free.append(min(free, s))
        if centring == "models":
            self._take(Z)
        elif centring == "columns":
            self._take(Z.sum(axis=0, keepdims=True, dtype=np.float64))
        elif centring == "scalar":
            self._take(Z.sum(keepdims=True, dtype=np.float64))

    def _take(self, Z: Matrix) -> None:
        if self.total is None:
            self.total = np.zeros(Z.shape)
        self.total += Z


def survey(
    members: Members, part: Part, centring: Centring, /, *, least: int = 2
) -> Survey:
    """Return sizes and centre of a part's samples.

    Parameters
    ----------
    members
        All are read once.
    part
        Of a recipe.
    centring
        What is subtracted.
    least
        Fewest models.

    Raises
    ------
    Quarantine
        When models are too few, or their samples do not fit each other.
    """
    sums = _Sums([], [])
    for member in members():
        Z = part.samples(member)
        free = len(Z)
        if isinstance(member, Factors) and not part.name:
            free = member.rank
        sums.add(Z, free, centring)
        del Z, member
    n, n_samples = len(sums.rows), sum(sums.rows)
    if n < least:
        raise Quarantine("TOO_FEW_MEMBERS", f"{n} models hold the layer")
    counts = {
        "models": n,
        "columns": n_samples,
        "scalar": n_samples * sums.width,
    }
    centre = np.zeros((1, 1))
    if sums.total is not None:
        centre = sums.total
        centre /= counts[centring]
    return Survey(
        n,
        n_samples,
        sums.width,
        tuple(sums.rows),
        _free(sums, centring),
        centre,
    )


def _free(sums: _Sums, centring: Centring) -> int:
    free = sum(sums.free)
    if centring == "models":
        return min(free, sum(sums.rows[1:]))
    return free - 1 if centring == "columns" else free


def second_moment(
    members: Members, samples: Callable[[Any], Matrix], found: Survey, /
) -> Float:
    """Return the sum of ``Y.T @ Y``, Y the centred samples of each model.

    Parameters
    ----------
    members
        All are read once.
    samples
        Of a member.
    found
        Their sizes and centre.
    """
    C = np.zeros((found.feature_dim, found.feature_dim))
    for Y in centred(members, samples, found):
        C += Y.T @ Y
        del Y
    return C


def features_at_once(n: int, d: int, largest: int, /) -> int:
    """Return how many features of n samples are held: two models' worth.

    Parameters
    ----------
    n, d
        Samples and features.
    largest
        Samples of one model at most.
    """
    entries = max(_ENTRIES, 2 * largest * d)
    return min(d, max(1, entries // n))


def products_of(
    members: Members, samples: Callable[[Any], Matrix], found: Survey, /
) -> Float:
    """Return the products of all centred samples with each other.

    Parameters
    ----------
    members
        Read as often as a block of features of all samples asks for.
    samples
        Of a member.
    found
        Their sizes and centre.
    """
    n, d = found.n_samples, found.feature_dim
    step = features_at_once(n, d, max(found.rows))
    room, G = np.empty((n, step)), np.zeros((n, n))
    for start in range(0, d, step):
        at = slice(start, min(start + step, d))
        X = room[:, : at.stop - start]
        row = 0
        for Y in centred(members, samples, found, at):
            X[row : row + len(Y)] = Y
            row += len(Y)
            del Y
        G += X @ X.T
    return G


def centred(
    members: Members,
    samples: Callable[[Any], Matrix],
    found: Survey,
    at: slice = slice(None),
    /,
) -> Iterator[Float]:
    """Yield the centred samples of each model in float64.

    Parameters
    ----------
    members
        All are read once.
    samples
        Of a member.
    found
        Their sizes and centre.
    at
        Which features.

    Raises
    ------
    Quarantine
        When the models are not those of the survey.
    """
    centre = found.centre
    if centre.shape[1] > 1:
        centre = centre[:, at]
    rows = iter(found.rows)
    for member in members():
        Z = samples(member)
        if Z.shape != (next(rows, -1), found.feature_dim):
            raise Quarantine("SOURCE_CHANGED", "the models are others now")
        yield np.subtract(Z[:, at], centre, dtype=np.float64)
        del Z, member
    if next(rows, None) is not None:
        raise Quarantine("SOURCE_CHANGED", "models are missing now")


def _mismatch(what: str) -> Quarantine:
    return Quarantine("SHAPE_MISMATCH", f"{what} of one layer")
