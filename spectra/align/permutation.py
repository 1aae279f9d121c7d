"""Hidden units put in the order in which another network has them.

A network is a chain of matrices (out, in), the outputs of each being the
inputs of the next, with any activation that acts on each unit alone. Its
hidden units may stand in any order without a change of what it computes. A
bias is one more column of its matrix.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag, helmert
from scipy.optimize import linear_sum_assignment

from spectra.linalg.solvers import qr

__all__ = [
    "NULLS",
    "Matching",
    "NetworkNull",
    "inner_product",
    "match_weights",
    "permuted",
]

Matrix = NDArray[np.float64]
Order = NDArray[np.intp]
Network = Sequence[Matrix]

_ROUNDING = 1e-12
"""A gain below this share of the product of the norms is rounding."""


@dataclass(frozen=True, slots=True)
class Matching:
    """How the hidden units of a network lie along those of a reference.

    Attributes
    ----------
    orders
        For the outputs of every layer but the last, the unit that comes to
        each place.
    objective
        Inner product with the reference as the units stand, at the start of
        the search, and after each step that improved it.
    """

    orders: tuple[Order, ...]
    objective: tuple[float, ...]


def inner_product(a: Network, b: Network, /) -> float:
    """Return the inner product of two networks as vectors."""
    return float(sum(np.vdot(A, B) for A, B in zip(a, b, strict=True)))


def permuted(network: Network, orders: Sequence[Order], /) -> list[Matrix]:
    """Return a network with its hidden units in another order.

    Parameters
    ----------
    network
        The matrices, first to last.
    orders
        As in `Matching`.
    """
    return [
        _moved(W, rows, columns)
        for W, (columns, rows) in zip(
            network, pairwise([None, *orders, None]), strict=True
        )
    ]


def _moved(W: Matrix, rows: Order | None, columns: Order | None) -> Matrix:
    if columns is not None:
        beyond = np.arange(len(columns), W.shape[1])
        W = W[:, np.concatenate([columns, beyond])]
    return W if rows is None else W[rows]


def match_weights(reference: Network, network: Network, /) -> Matching:
    r"""Return the orders that bring a network closest to a reference.

    Parameters
    ----------
    reference, network
        Of the same shapes.

    Returns
    -------
    Matching
        A local optimum: no layer's units alone can be ordered better.

    Notes
    -----
    Weight matching of Git Re-Basin (Ainsworth, Hayase and Srinivasa 2022,
    algorithm 1): :math:`\sum_l \langle A_l, P_l B_l P_{l-1}^T \rangle` is
    raised by one :math:`P_l` at a time, the others held, which is a linear
    assignment problem; never lowered, until a whole sweep raises it no more.

    Sweeps go from the inputs on, and start from the better of two: the units
    as they stand, or each layer ordered by its incoming weights alone, which
    finds a permuted copy at once.
    """
    standing = [np.arange(len(W)) for W in network[:-1]]
    starts = standing, _forward(reference, network)
    values = [inner_product(reference, permuted(network, s)) for s in starts]
    orders = list(starts[int(np.argmax(values))])
    objective = [values[0], max(values)]
    least = _ROUNDING * np.sqrt(
        inner_product(reference, reference) * inner_product(network, network)
    )
    rises = True
    while rises:
        rises = False
        for i, places in enumerate(standing):
            likeness = _likeness(reference, network, orders, i)
            best = _assigned(likeness)
            gain = np.sum(likeness[places, best] - likeness[places, orders[i]])
            if gain > least:
                orders[i] = best
                objective.append(objective[-1] + float(gain))
                rises = True
    return Matching(tuple(orders), tuple(objective))


def _forward(reference: Network, network: Network) -> list[Order]:
    """Return the orders by incoming weights alone, from the inputs on."""
    orders: list[Order] = []
    for A, B in zip(reference[:-1], network[:-1], strict=True):
        before = orders[-1] if orders else None
        orders.append(_assigned(A @ _moved(B, None, before).T))
    return orders


def _assigned(likeness: Matrix) -> Order:
    order: Order = linear_sum_assignment(likeness, maximize=True)[1]
    return order


def _likeness(
    reference: Network, network: Network, orders: Sequence[Order], i: int
) -> Matrix:
    """Return what each unit (column) is worth in each place (row)."""
    before = orders[i - 1] if i > 0 else None
    after = orders[i + 1] if i + 1 < len(orders) else None
    width = len(network[i])
    into = _moved(network[i], None, before)
    out = _moved(network[i + 1][:, :width], after, None)
    likeness: Matrix = reference[i] @ into.T
    return likeness + reference[i + 1][:, :width].T @ out


def _scattered(network: Network, rng: np.random.Generator) -> list[Matrix]:
    first, *rest = network
    drawn = [rng.permuted(first, axis=0)]
    for W in rest:
        width = len(drawn[-1])
        axis = 1 if W is rest[-1] else None
        weights = rng.permuted(W[:, :width], axis=axis)
        drawn.append(np.hstack([weights, W[:, width:]]))
    return drawn


def _rotated(network: Network, rng: np.random.Generator) -> list[Matrix]:
    turns = [_rotation(len(W), rng) for W in network[:-1]]
    turned = [Q @ W for Q, W in zip(turns, network[:-1], strict=True)]
    turned.append(network[-1].copy())
    for Q, W in zip(turns, turned[1:], strict=True):
        W[:, : len(Q)] = W[:, : len(Q)] @ Q.T
    return turned


def _rotation(n: int, rng: np.random.Generator) -> Matrix:
    """Return an orthogonal matrix, Haar among those that keep the mean.

    Notes
    -----
    The QR factors of a Gaussian matrix, signs made positive (Mezzadri 2007),
    in the complement of the vector of ones.
    """
    Q, R = qr(rng.standard_normal((n - 1, n - 1)))
    H = helmert(n, full=True)
    turn: Matrix = H.T @ block_diag(1.0, Q * np.sign(np.diagonal(R))) @ H
    return turn


@dataclass(frozen=True, slots=True)
class NetworkNull:
    """A way to draw networks whose units have nothing to do with others'.

    Attributes
    ----------
    keeps
        What a draw has in common with the network it is made of.
    draw
        Returns one, given a network and a stream.
    """

    name: str
    keeps: str
    draw: Callable[[Network, np.random.Generator], list[Matrix]]


NULLS = (
    NetworkNull(
        "entries",
        "the values of each layer (of the first, by input; of the last, by"
        " output), at random hidden units",
        _scattered,
    ),
    NetworkNull(
        "rotated",
        "each layer's map and mean unit, in random hidden bases",
        _rotated,
    ),
)
"""What unrelated units could be, from less to more like those there are."""
