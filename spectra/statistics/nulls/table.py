"""Populations without shared directions, drawn as Gram matrices.

A new null is one function and one row of `NULLS`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spectra.core.errors import UsageError
from spectra.statistics.nulls.draws import (
    EVR,
    UNIT_NORM_EVR,
    Members,
    Null,
    NullDraws,
    Sampler,
)
from spectra.statistics.nulls.row_permutations import row_permutations

__all__ = [
    "NULLS",
    "SIDE_NULL",
    "adjusted_p",
    "chosen_nulls",
    "false_discovery_rates",
    "unrelated",
]

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]
Layers = Sequence[NullDraws | str]

_ROWS = 96
"""Of a triangular factor, that are multiplied at once."""


def _factors(
    n: int, size: int, draws: int, rng: np.random.Generator, /
) -> Matrix:
    """Return L, of which L L^T are inner products of normal vectors in R^size.

    Of shape (draws, n, min(n, size)).

    Notes
    -----
    Bartlett's decomposition: L lower triangular, standard normal below its
    diagonal and chi of size, size - 1, ... degrees on it. However many vectors
    there are, no eigenvalue of L L^T is negative.
    """
    width = min(n, size)
    below = np.tri(n, width, -1, dtype=bool)
    diagonal = np.arange(width)
    L = np.zeros((draws, n, width))
    # One after another, so that no draw depends on how many there are.
    for one in L:
        one[below] = rng.standard_normal(np.count_nonzero(below))
        squares = rng.chisquare(size - diagonal)
        one[diagonal, diagonal] = np.sqrt(squares)
    return L


def _products(L: Matrix, /) -> Matrix:
    """Return L L^T of lower triangular L, in blocks without most zeros."""
    n = L.shape[1]
    G = np.empty((len(L), n, n))
    for start in range(0, n, _ROWS):
        rows = slice(start, start + _ROWS)
        block = L[:, rows, : start + _ROWS].transpose(0, 2, 1)
        left = L[:, start:, : start + _ROWS]
        np.matmul(left, block, out=G[:, start:, rows])
        below = G[:, start + _ROWS :, rows]
        G[:, rows, start + _ROWS :] = below.transpose(0, 2, 1)
    return G


def unrelated(
    n: int,
    size: int,
    draws: int,
    rng: np.random.Generator,
    /,
    *,
    lengths: Vector | None = None,
) -> Matrix:
    """Return (draws, n, n) inner products of random directions in R^size.

    Parameters
    ----------
    n, size
        How many, and of how many entries.
    draws
        Independent sets of them.
    rng
        Where they come from.
    lengths
        Of the n vectors; 1 unless given.

    Notes
    -----
    Means, variances 1 / size and mean triple products 1 / size^2 are those of
    Haar-rotated maps Q x R, whatever their spectrum.
    """
    L = _factors(n, size, draws, rng)
    scale = np.ones(n) if lengths is None else lengths
    L *= (scale / np.linalg.norm(L, axis=2))[:, :, None]
    return _products(L)


def _strength(members: Members) -> Sampler | str:
    axis = members.axis
    if axis.squared_norms is None:
        return "deviation norms need at least three members"
    lengths = np.sqrt(axis.squared_norms)
    return lambda draws, rng: unrelated(
        axis.n, axis.size, draws, rng, lengths=lengths
    )


def _initialisation(members: Members) -> Sampler | str:
    axis = members.axis
    return lambda draws, rng: _products(
        _factors(axis.n, axis.size, draws, rng)
    )


_COMMON_START = (
    "whole weights hold a common start, which permutations would destroy;"
    " fit with a base"
)


def _permuted_entries(members: Members) -> Sampler | str:
    """Return a sampler of maps whose entries are permuted.

    Notes
    -----
    With sum t_i and energy e_i of D entries, two permuted maps have an inner
    product of mean t_i t_j / D and variance c_i^2 c_j^2 / (D - 1), c_i^2 =
    e_i - t_i^2 / D: what is left without the mean entry lies in D - 1
    dimensions.
    """
    axis, sums = members.axis, members.layer.entry_sums
    if not members.are_updates:
        return _COMMON_START
    if sums is None:
        return "the run does not hold the sums of entries; fit again"
    if axis.size < 2:
        return "there is one entry, and nothing to permute"
    means = members.ordered(sums) / np.sqrt(axis.size)
    mean = np.outer(means, means)
    lengths = np.sqrt(np.maximum(0.0, axis.energies - means**2))
    return lambda draws, rng: (
        mean + unrelated(axis.n, axis.size - 1, draws, rng, lengths=lengths)
    )


def _permuted_rows(members: Members) -> Sampler | str:
    n = members.axis.n
    if not members.are_updates:
        return _COMMON_START
    rows = row_permutations(members)
    if isinstance(rows, str):
        return rows

    def sampler(draws: int, rng: np.random.Generator) -> Matrix:
        cosines = np.zeros((draws, n, n))
        for share, size in zip(rows.shares, rows.sizes, strict=True):
            cosines += share * unrelated(n, size, draws, rng)
        return rows.mean + rows.scale * cosines

    return sampler


NULLS = (
    Null(
        "strength",
        "the members' norms and the layer's size; directions are random",
        "Bartlett 1933",
        EVR,
        _strength,
    ),
    Null(
        "initialisation",
        "the number of members and the layer's size; entries are independent"
        " and normal",
        "Bartlett 1933",
        EVR,
        _initialisation,
    ),
    Null(
        "unit-norm",
        "as strength, but every deviation is scaled to one length before"
        " layer and draws are compared",
        "Jolliffe 2002, section 2.3",
        UNIT_NORM_EVR,
        _strength,
    ),
    Null(
        "permuted-entries",
        "each member's entries, in random places",
        "Pitman 1937; Buja and Eyuboglu 1992",
        EVR,
        _permuted_entries,
    ),
    Null(
        "permuted-rows",
        "each member's rows, hence the inputs it reads from; to which output"
        " a row belongs is random",
        "Hoeffding 1951",
        EVR,
        _permuted_rows,
    ),
)
"""The first is always drawn: verdicts rest on it."""

SIDE_NULL = "side-strength"
"""The name of the null of the sides, which have draws of their own."""


def chosen_nulls(names: Sequence[str], /) -> tuple[Null, ...]:
    """Return the model axis's nulls of these names, and the first.

    They stand in the table's order. The name of the sides' null is known too,
    and adds none here.

    Raises
    ------
    UsageError
        When there is no null of a name.
    """
    known = [*(null.name for null in NULLS), SIDE_NULL]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(
            "E_NULL",
            f"there is no null {unknown[0]!r}",
            advice=f"choose among {', '.join(known)}",
        )
    return NULLS[:1] + tuple(null for null in NULLS[1:] if null.name in names)


def adjusted_p(layers: Layers, k: int, /) -> list[float]:
    """Return each layer's p at level k, adjusted for the number of layers.

    NaN for a layer that does not have the level. Westfall and Young's max-T
    in one step: a layer's z against the highest z of any layer in each draw.
    The chance of one false finding or more stays below it.
    """
    adjusted = [float("nan")] * len(layers)
    scores = {
        i: null.standardised(k) for i, null in _with_level(layers, k).items()
    }
    if scores:
        highest = np.max([drawn for _, drawn in scores.values()], axis=0)
        for i, (z, _) in scores.items():
            above = np.count_nonzero(highest >= z - 1e-9)
            adjusted[i] = float((1 + above) / (1 + len(highest)))
    return adjusted


def false_discovery_rates(layers: Layers, k: int, /) -> list[float]:
    """Return each layer's p at level k after Benjamini and Hochberg.

    NaN for a layer that does not have the level. Of the layers below a value,
    at most that share is expected to be there by chance.
    """
    rates = [float("nan")] * len(layers)
    p = {
        i: null.p[null.levels.index(k)]
        for i, null in _with_level(layers, k).items()
    }
    order = sorted(p, key=p.__getitem__, reverse=True)
    least = 1.0
    for rank, i in zip(range(len(p), 0, -1), order, strict=True):
        least = min(least, p[i] * len(p) / rank)
        rates[i] = float(least)
    return rates


def _with_level(layers: Layers, k: int) -> dict[int, NullDraws]:
    return {
        i: null
        for i, null in enumerate(layers)
        if isinstance(null, NullDraws) and k in null.levels
    }
