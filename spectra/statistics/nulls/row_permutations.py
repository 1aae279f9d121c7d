r"""Inner products of maps whose output rows are permuted, without the maps.

Permuting rows is a random rotation of the output side that leaves the row
mean alone, and every member's input covariance :math:`C_i = x_i^\top x_i`.
So two permuted maps x and y have an inner product of mean :math:`\langle
1^\top x, 1^\top y\rangle / d_{out}` and of variance :math:`\operatorname{tr}
(C_x C_y) / (d_{out} - 1)`, rows taken less their mean (Hoeffding 1951). What
is left are higher moments: members that read from common input directions lie
in fewer dimensions than the variance alone tells, and their largest
eigenvalues are larger.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectra.linalg.solvers import eigh
from spectra.statistics.nulls.draws import Members

__all__ = ["RowPermutations", "quadrature", "row_permutations"]

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]

_ROUNDING = 1e-12
"""A member whose rows differ by less of its energy has equal rows."""

_FEWEST_ROWS = 16
"""Permutations of fewer rows are too unlike rotations."""

_LARGEST_MEAN = 4
"""Mean rows may hold so many times what unrelated rows leave in their mean.

How the other rows lie towards the mean rows is not known, only guessed; beyond
this the guess would show in p. Of twelve layers of real adapters the largest
was 2.1.
"""


@dataclass(frozen=True, slots=True)
class RowPermutations:
    """How to draw: ``mean + scale * sum of share x cosines``.

    Attributes
    ----------
    mean
        N x N expectations.
    scale
        N x N factors of the cosines.
    shares, sizes
        The cosines are those of random directions that have these shares of
        their squares in spaces of these dimensions.
    """

    mean: Matrix
    scale: Matrix
    shares: tuple[float, ...]
    sizes: tuple[int, ...]


def row_permutations(members: Members, /) -> RowPermutations | str:
    """Return how members with permuted rows are drawn, or why they cannot be.

    Notes
    -----
    The cosines have the variances of the input side's spectrum, in the two
    spaces that have its power sums up to the fourth, and each pair is then
    scaled to its own variance. A draw may have small negative eigenvalues
    where pairs differ; they count as zero.

    Where few rows hold most of a member, EVR of really permuted rows spread
    wider than those of the draws: by half where the mean square of rows'
    energies is 13 times their squared mean. In real adapters it is about 2.
    """
    layer = members.layer
    n_rows, width = layer.shape
    if n_rows < _FEWEST_ROWS:
        return f"{n_rows} rows are fewer than {_FEWEST_ROWS}"
    if layer.row_sums is None or layer.row_products is None:
        return "the run does not hold products of rows; fit again"
    energies = members.axis.energies
    mean = members.ordered(layer.row_sums) / n_rows
    if np.trace(mean) * n_rows > _LARGEST_MEAN * energies.sum():
        share = np.trace(mean) / energies.sum()
        return (
            f"the mean of a member's rows holds {share:.1%} of them; how the"
            " rest lies towards it is not known"
        )
    own = energies - np.diagonal(mean)
    own[own <= _ROUNDING * energies] = 0.0
    products = members.ordered(layer.row_products)
    alike = _likeness(_completed(products, members), mean, own)
    lengths = np.sqrt(own)
    pairs = np.outer(lengths, lengths) * ~np.eye(len(own), dtype=bool)
    if not np.any(pairs * alike > 0):
        return "rows of no two members have an input in common"
    spectrum = _spectrum(layer.input.eigenvalues, layer.input.trace, width)
    square = np.average(alike, weights=pairs**2)
    spectrum = _shrunk(spectrum, float(square))
    nodes, shares = quadrature(spectrum, spectrum)
    squeezed = _squeeze(pairs, alike, float(shares @ nodes))
    sizes = np.maximum(1, np.round((n_rows - 1) * shares / (nodes * squeezed)))
    variance = np.sum(shares**2 / sizes)
    relative = np.sqrt(alike / ((n_rows - 1) * variance))
    np.fill_diagonal(relative, 1.0)
    return RowPermutations(
        mean,
        np.outer(lengths, lengths) * relative,
        tuple(shares.tolist()),
        tuple(sizes.astype(int).tolist()),
    )


def _completed(products: Matrix, members: Members) -> Matrix:
    """Return tr C_i C_j, what leading directions leave spread evenly."""
    layer = members.layer
    if layer.kind == "low-rank":
        return products
    leading = members.ordered(np.sum(layer.singular_values**2, axis=1))
    rest = np.maximum(0.0, members.axis.energies - leading)
    mixed = np.outer(leading, rest)
    return products + (mixed + mixed.T + np.outer(rest, rest)) / layer.shape[1]


def _likeness(products: Matrix, mean: Matrix, own: Vector) -> Matrix:
    r"""Return tr C_i C_j / (tr C_i tr C_j) of rows less their mean.

    Mean rows :math:`\mu_i` add the square of `mean` and terms :math:`d_{out}
    \mu_j^\top C_i \mu_j`, which are taken to be what they are where
    :math:`\mu_j` lies in the directions of member j's other rows.
    """
    some = own > 0
    own = np.where(some, own, 1.0)
    common = np.diagonal(mean) / own
    inflated = 1 + common[:, None] + common[None, :]
    alike = (products - mean**2) / inflated / np.outer(own, own)
    return np.clip(alike, 0.0, 1.0) * np.outer(some, some)


def _spectrum(eigenvalues: Vector, trace: float, width: int) -> Vector:
    """Return all eigenvalues as shares, unknown ones all alike."""
    known = eigenvalues[:width] / trace
    rest = max(0.0, 1 - known.sum())
    unknown = np.full(width - len(known), rest / max(1, width - len(known)))
    spectrum: Vector = np.concatenate([known, unknown])
    spectrum /= spectrum.sum()
    return spectrum


def _shrunk(spectrum: Vector, square: float) -> Vector:
    """Return a flatter spectrum, whose sum of squares is given.

    The sum over members is more uneven than what two of them have in common,
    since each member is in it.
    """
    even = 1 / len(spectrum)
    excess = float(np.sum(spectrum**2)) - even
    left = max(0.0, square - even)
    factor = np.sqrt(left / excess) if left < excess else 1.0
    return even + factor * (spectrum - even)


def quadrature(nodes: Vector, weights: Vector, /) -> tuple[Vector, Vector]:
    """Return the Gauss quadrature rule of two nodes, or of one for a point.

    Parameters
    ----------
    nodes, weights
        Of a discrete measure of mass 1.

    Notes
    -----
    Its rule has the measure's moments up to the third: the nodes are the
    eigenvalues of the Jacobi matrix of its first orthogonal polynomials
    (Golub and Welsch 1969).
    """
    first = weights @ nodes
    variance = weights @ (nodes - first) ** 2
    if variance <= 1e-12 * first**2:
        return np.array([first]), np.array([1.0])
    second = weights @ (nodes * (nodes - first) ** 2) / variance
    beside = np.sqrt(variance)
    values, vectors = eigh(np.array([[first, beside], [beside, second]]))
    return values, vectors[0] ** 2


def _squeeze(pairs: Matrix, alike: Matrix, variance: float) -> float:
    """Return by how much the dimensions shrink for the sake of triples.

    Where some pairs are more alike than others, as in groups with a common
    input side, triples are scaled down with them. What all of them make is
    known, since it is in the spectrum of the sum.
    """
    most = float(alike[pairs > 0].max()) / variance
    triples = _triples(pairs * np.sqrt(alike / variance))
    return min(most, (_triples(pairs) / triples) ** 2) if triples else most


def _triples(values: Matrix) -> float:
    return float(np.sum((values @ values) * values))
