r"""Maps from one representation's space to another's, judged on other items.

Stitching joins the first layers of one network to the last of another by such
a map (Lenc and Vedaldi 2015); where one fitted on some items holds on others,
the two spaces are the same up to the kind of map (Maiorca et al. 2023).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectra.align.representations.asked import Order
from spectra.linalg.solvers import svd

__all__ = ["MAPS", "Fitted", "Kind", "Map", "Stitch", "folds_of", "stitch"]

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]
Items = NDArray[np.intp]

_RIDGES = np.array([0.0, *10.0 ** np.arange(-8.0, 3.0)])
"""Ridges tried, in units of the mean of the features' squared singular
values."""

_FREE = 0.5
"""Of fewer degrees of freedom nothing is left to judge a ridge by."""

_RANK = 1e-12
"""Singular values of less than this share of the largest are rounding."""


@dataclass(frozen=True, slots=True)
class Map:
    r"""The map :math:`x \mapsto x W + b`.

    Attributes
    ----------
    W
        (width of a, width of b).
    b
        (width of b).
    ridge
        What was added to the squared singular values; 0 for none.
    """

    W: Matrix
    b: Vector
    ridge: float

    def __call__(self, X: Matrix, /) -> Matrix:
        """Return rows (n, width of a) mapped, (n, width of b)."""
        mapped: Matrix = X @ self.W + self.b
        return mapped


Fitted = Callable[[Matrix], Map]
"""Fits a map to the other side's rows, (n, width of b)."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of map.

    Attributes
    ----------
    prepare
        Takes the rows that are mapped, once for whatever they are mapped to.
    cite
        Whose it is.
    """

    name: str
    prepare: Callable[[Matrix], Fitted]
    cite: str


def _linear(X: Matrix) -> Fitted:
    return _ridged(X, np.zeros(X.shape[1]), has_constant=False)


def _affine(X: Matrix) -> Fitted:
    return _ridged(X, X.mean(axis=0), has_constant=True)


def _ridged(X: Matrix, centre: Vector, *, has_constant: bool) -> Fitted:
    """Return how rows less a centre are mapped with the least squares.

    The ridge has the least error by generalised cross-validation (Golub et
    al. 1979), for which one decomposition is enough.
    """
    U, s, Vh = svd(X - centre)
    kept = s > _RANK * s[0]
    U, s, Vh = U[:, kept], s[kept], Vh[kept]
    squares = s**2
    ridges = _RIDGES * (squares.mean() if len(s) else 0.0)
    shares = squares / (squares + ridges[:, None])
    free = len(X) - shares.sum(axis=1) - has_constant

    def fitted(Y: Matrix) -> Map:
        middle = Y.mean(axis=0) if has_constant else np.zeros(Y.shape[1])
        Z = U.T @ (Y - middle)
        powers = (Z**2).sum(axis=1)
        outside = max(0.0, float(((Y - middle) ** 2).sum() - powers.sum()))
        errors = outside + (1 - shares) ** 2 @ powers
        scores = np.full(len(ridges), np.inf)
        np.divide(errors, free**2, out=scores, where=free > _FREE)
        best = int(np.argmin(scores))
        W = Vh.T @ ((shares[best] / s)[:, None] * Z)
        return Map(W, middle - centre @ W, float(ridges[best]))

    return fitted


def _orthogonal(X: Matrix) -> Fitted:
    centre = X.mean(axis=0)
    away = X - centre

    def fitted(Y: Matrix) -> Map:
        middle = Y.mean(axis=0)
        U, s, Vh = svd(away.T @ (Y - middle))
        Q = U @ Vh
        power = float(((away @ Q) ** 2).sum())
        W = (float(s.sum()) / power if power else 0.0) * Q
        return Map(W, middle - centre @ W, 0.0)

    return fitted


MAPS = (
    Kind("linear", _linear, "Lenc and Vedaldi 2015"),
    Kind("affine", _affine, "Maiorca et al. 2023"),
    Kind("orthogonal", _orthogonal, "Schönemann 1966"),
)
"""All kinds; another is another row."""


def folds_of(n: int, count: int, rng: np.random.Generator, /) -> list[Items]:
    """Return disjoint sets of items, as even as can be; all of them together.

    Parameters
    ----------
    n
        Items.
    count
        Folds, at most n.
    rng
        Draws which items are together.
    """
    return [
        np.sort(fold) for fold in np.array_split(rng.permutation(n), count)
    ]


@dataclass(frozen=True, slots=True)
class Stitch:
    """A kind of map, fitted on all but one fold, judged on that; each in turn.

    Attributes
    ----------
    X, Y
        (n, width) of both sides, float64.
    folds
        Of the items.
    fits
        Of each fold's other items.
    """

    X: Matrix
    Y: Matrix
    folds: Sequence[Items]
    fits: Sequence[Fitted]

    def explained(self, order: Order, /) -> float:
        """Return what is explained of held-out rows beside their mean, R^2.

        1 less the summed squared errors over the summed squared differences
        from the mean of the rows that were fitted. Below 0 where the mean is
        nearer than the map.

        Parameters
        ----------
        order
            Of the items of the other side.
        """
        missed = total = 0.0
        for Y, mapped, middle in self._held_out(self.Y[order]):
            missed += float(((Y - mapped) ** 2).sum())
            total += float(((Y - middle) ** 2).sum())
        return 1 - missed / total if total else float("nan")

    def found_again(self) -> tuple[float, float]:
        """Return the share of held-out items that are nearest to their image.

        Among the items of their fold, by cosine less the mean of the rows
        that were fitted; and what it is by chance, the mean of 1 / fold.
        """
        found = 0
        for Y, mapped, middle in self._held_out(self.Y):
            near = _units(mapped - middle) @ _units(Y - middle).T
            found += int(
                np.count_nonzero(near.argmax(axis=1) == np.arange(len(Y)))
            )
        return found / len(self.Y), len(self.folds) / len(self.Y)

    def _held_out(self, Y: Matrix) -> Iterator[tuple[Matrix, Matrix, Vector]]:
        """Yield held-out rows, what they are mapped to, and the mean."""
        for fold, fitted in zip(self.folds, self.fits, strict=True):
            others = np.ones(len(Y), bool)
            others[fold] = False
            rest = Y[others]
            yield Y[fold], fitted(rest)(self.X[fold]), rest.mean(axis=0)


def stitch(
    kind: Kind, X: Matrix, Y: Matrix, folds: Sequence[Items], /
) -> Stitch:
    """Return a kind of map from X to Y, ready to be judged.

    Parameters
    ----------
    kind
        One of `MAPS`.
    X, Y
        (n, width) of the same items.
    folds
        As of `folds_of`.
    """
    fits = []
    for fold in folds:
        others = np.ones(len(X), bool)
        others[fold] = False
        fits.append(kind.prepare(X[others]))
    return Stitch(X, Y, folds, fits)


def _units(X: Matrix) -> Matrix:
    norms = np.linalg.norm(X, axis=1, keepdims=True)
    units: Matrix = X / np.where(norms > 0, norms, 1.0)
    return units
