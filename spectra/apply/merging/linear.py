"""Merges that are sums of the updates with some weights."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from spectra.apply.merging.core_space import CoreSpace
from spectra.apply.merging.entries import entries_of
from spectra.apply.merging.framed import Framed
from spectra.linalg.solvers import eigh

__all__ = [
    "Summable",
    "even",
    "mean",
    "shares",
    "subspace",
    "subspace_shares",
    "subspace_weights",
    "task_arithmetic",
    "weighted",
]

Vector = NDArray[np.float64]


class Summable(Protocol):
    """N updates of which sums are known: their cores, or factors alone."""

    def __len__(self) -> int:
        """Return N."""

    def combined(self, weights: Vector, /) -> Framed:
        """Return the sum of the updates with weights (N)."""


def mean(updates: Summable, /) -> Framed:
    """Return the average of the updates."""
    return updates.combined(even(len(updates)))


def weighted(updates: Summable, /, *, weights: Sequence[float]) -> Framed:
    """Return the average with weights, which are divided by their sum."""
    return updates.combined(shares(weights))


def task_arithmetic(updates: Summable, /, *, lam: float = 1.0) -> Framed:
    """Return the sum times `lam`, which is tuned where it is published."""
    return updates.combined(np.full(len(updates), lam))


def subspace(
    space: CoreSpace, /, *, k: int, weights: Sequence[float] | None = None
) -> Framed:
    """Return the mean and what a weighted average adds in k directions.

    Parameters
    ----------
    space
        The updates.
    k
        Directions of the model axis, as in `subspace_weights`.
    weights
        Of the updates' coefficients, divided by their sum; None for equal.
    """
    return space.combined(subspace_weights(space, k, weights))


def subspace_weights(
    space: CoreSpace, k: int, weights: Sequence[float] | None = None, /
) -> Vector:
    r"""Return the weights (N) that a merge in the joint subspace comes to.

    Parameters
    ----------
    space
        The updates.
    k
        Directions, the leading ones of what the updates differ in; fewer where
        they differ in no more.
    weights
        w, of the updates' coefficients, divided by their sum; None for equal.

    Notes
    -----
    With :math:`c_i = V_k^T(x_i - \bar x)` the merge is
    :math:`\bar x + V_k \sum_i w_i c_i`. Centred coefficients sum to zero, so
    with equal weights it is the mean, whatever k: that is what the formula
    comes to which a replication of Kaushik et al. (2025) guessed, who gave
    none. At full k it is the weighted average.

    No basis is formed: :math:`V_k` is a combination of the updates, by the
    eigenvectors of their centred Gram matrix.
    """
    n = len(space)
    gram = np.zeros((n, n))
    for _, rows in entries_of(space, space="core").blocks():
        away = (rows - rows.mean(axis=0)).reshape(n, -1)
        gram += away @ away.T
    return subspace_shares(gram, k, weights)


def subspace_shares(
    gram: Vector, k: int, weights: Sequence[float] | None = None, /
) -> Vector:
    """Return the weights (N) of `subspace_weights`.

    Parameters
    ----------
    gram
        Inner products (N, N) of the updates less their mean.
    k, weights
        As of `subspace_weights`.
    """
    n = len(gram)
    values, vectors = eigh(gram)
    noise = n * np.finfo(np.float64).eps * max(values[-1], 0.0)
    k = min(k, int(np.count_nonzero(values > noise)), n - 1)
    Z = vectors[:, n - k :]
    Z = Z - Z.mean(axis=0)
    equal = even(n)
    wanted = equal if weights is None else shares(weights)
    # Z' 1 = 0, so equal weights may be subtracted, and leave exactly nothing.
    found: Vector = equal + Z @ (Z.T @ (wanted - equal))
    return found


def even(n: int, /) -> Vector:
    """Return equal weights (N) whose sum is 1."""
    return np.full(n, 1 / n)


def shares(weights: Sequence[float], /) -> Vector:
    """Return weights (N) divided by their sum."""
    given = np.asarray(weights, np.float64)
    divided: Vector = given / given.sum()
    return divided
