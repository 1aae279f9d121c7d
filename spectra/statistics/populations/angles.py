r"""Two populations by the inner products of their members.

Notes
-----
With :math:`K_a = V \Lambda V^\top` the inner products of a's deviations from
their mean, the rows of :math:`\tilde X_a`, the columns of
:math:`U_a = \tilde X_a^\top V \Lambda^{-1/2}` are a's directions. With
:math:`C = \tilde X_a \tilde X_b^\top`, the singular values of
:math:`U_a^\top U_b = \Lambda_a^{-1/2} V_a^\top C V_b \Lambda_b^{-1/2}` are the
cosines of the principal angles (Björck and Golub, 1973), and
:math:`\Lambda_a^{-1/2} V_a^\top C` is what a's directions hold of b.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spectra.linalg.gram import eigenpairs
from spectra.linalg.solvers import svdvals
from spectra.statistics.vectors import Matrix, Vector, centred

__all__ = ["Bases", "Pair"]

Bases = tuple[Matrix, Matrix]
"""Of a and of b: directions as combinations of members, a column each."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Inner products of a's deviations, of b's, and between them.

    Each population deviates from its own mean.
    """

    a: Matrix
    b: Matrix
    between: Matrix

    @classmethod
    def of(cls, K: Matrix, n: int, /) -> "Pair":
        """Return the first n members, and the others."""
        C = K[:n, n:]
        C = C - C.mean(axis=1)[:, None] - C.mean(axis=0) + C.mean()
        return cls(centred(K[:n, :n]), centred(K[n:, n:]), C)

    @property
    def spreads(self) -> tuple[float, float]:
        """Return the mean squared deviation of each, free of bias."""
        a, b = (float(np.trace(K)) / (len(K) - 1) for K in (self.a, self.b))
        return a, b

    @property
    def pooled(self) -> float:
        """Return the mean squared deviation of all."""
        total = float(np.trace(self.a) + np.trace(self.b))
        return total / (len(self.a) + len(self.b) - 2)

    def at_one_spread(self) -> Matrix:
        """Return all inner products, with spread 1 in each population."""
        a, b = self.spreads
        C = self.between / np.sqrt(a * b)
        return np.block([[self.a / a, C], [C.T, self.b / b]])

    def bases(self, count: int, floor: float, /) -> Bases:
        """Return the leading directions of each, those above a floor."""
        return _basis(self.a, count, floor), _basis(self.b, count, floor)

    def held(self, bases: Bases, /) -> tuple[Matrix, Matrix]:
        """Return what each direction of the other holds of b, and of a.

        A row is a member, a column a direction.
        """
        A, B = bases
        return (self.between.T @ A) ** 2, (self.between @ B) ** 2

    def cosines(self, bases: Bases, k: int, /) -> Vector:
        """Return the cosines of k principal angles, none beyond a rank."""
        M = bases[0].T @ self.between @ bases[1]
        if k > min(M.shape):
            return np.empty(0)
        values = svdvals(M[:k, :k])
        return np.asarray(np.minimum(1.0, values))

    def shares(self, bases: Bases, levels: Sequence[int], /) -> Matrix:
        """Return overlap, captured share of b and of a; a column a level.

        NaN where there are fewer directions.
        """
        M = (bases[0].T @ self.between @ bases[1]) ** 2
        of_b, of_a = (held.sum(axis=0) for held in self.held(bases))
        table = np.full((3, len(levels)), np.nan)
        for j, k in enumerate(levels):
            if k <= min(M.shape):
                table[0, j] = M[:k, :k].sum() / k
            if k <= len(of_b):
                table[1, j] = of_b[:k].sum() / np.trace(self.b)
            if k <= len(of_a):
                table[2, j] = of_a[:k].sum() / np.trace(self.a)
        return table


def _basis(K: Matrix, count: int, floor: float) -> Matrix:
    values, vectors = eigenpairs(K, min(count, len(K) - 1))
    above = values > floor
    return np.asarray(vectors[:, above] / np.sqrt(values[above]))
