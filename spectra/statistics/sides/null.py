"""Sides of populations that share nothing but their singular values.

Only one side's frames matter to that side's sum: C_out = sum U s^2 U^T.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.linalg.solvers import eigh, qr, svd
from spectra.statistics.measures import explained
from spectra.statistics.nulls.table import SIDE_NULL
from spectra.statistics.sides.side import Side
from spectra.statistics.sides.stability import split_halves
from spectra.subspaces.result import LayerFit

__all__ = [
    "AFFORDABLE",
    "SIDE_DRAWS",
    "SideDraws",
    "SideNull",
    "draw_sides",
    "seconds",
    "side_nulls",
]

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]
Real = NDArray[Any]

AFFORDABLE = 2.0
"""Seconds of one core that the draws of a side may take unasked."""

SIDE_DRAWS = 20
"""A draw of 500 members in 4096 dimensions takes two seconds."""

_EXACT = 512
"""Up to so many rows or columns all eigenvalues are found."""

_SMALL = 2**20
"""Up to so many entries a draw is made in float64."""

_FULL = 0.99
"""Of a direction, what a random row space can hold at most."""

_BLOCK, _DEPTH = 32, 9
_KEPT = 64

_FLOPS = 2e10
"""Floating-point operations a second of one core, for what a draw costs."""


@dataclass(frozen=True, slots=True)
class SideNull:
    """A way to draw the members' frames on one side.

    Attributes
    ----------
    keeps
        What its draws have in common with the population.
    weights
        Variances of the random rows in some orthonormal basis of the side,
        (d,); None for all alike.
    """

    name: str
    keeps: str
    cite: str
    weights: Vector | None = None


@dataclass(frozen=True, slots=True)
class SideDraws:
    """EVR of each draw, (draws, levels), and how its halves agree.

    Attributes
    ----------
    every, alone
        With all members, and with one of each group.
    split_half
        (draws, levels), NaN where there are too few folds.
    """

    levels: tuple[int, ...]
    every: Matrix
    alone: Matrix
    split_half: Matrix


def side_nulls(
    profile: Vector | None, q: int, dimension: int, /
) -> list[SideNull]:
    """Return the nulls that can be drawn of a side.

    Parameters
    ----------
    profile
        The shares of the energy along the base's singular directions; None
        without a base.
    q
        Directions of a member.
    dimension
        Of the side.

    Notes
    -----
    The row space of q normal rows with variances w holds on average
    p_j = w_j t / (1 + w_j t) of direction j, with t such that all p_j sum to
    q (the deterministic equivalent of Marchenko and Pastur 1967). So w_j =
    p_j / (1 - p_j) gives directions their shares p_j = q profile_j; none can
    have more than one.
    """
    nulls = [
        SideNull(
            SIDE_NULL,
            "every member's singular values; Haar frames",
            "Chikuse 2003, section 2.2",
        )
    ]
    if profile is not None:
        outside = max(0.0, 1 - profile.sum()) / max(
            1, dimension - len(profile)
        )
        weights = np.full(dimension, outside)
        weights[: len(profile)] = profile
        held = np.minimum(_FULL, q * weights)
        nulls.append(
            SideNull(
                "base-aligned",
                "every member's singular values, and how much of the energy"
                " lies along each singular direction of the base",
                "Marchenko and Pastur 1967",
                held / (1 - held),
            )
        )
    return nulls


def seconds(n: int, q: int, dimension: int, draws: int, /) -> float:
    """Return about how long `draws` of a side take on one core.

    Parameters
    ----------
    n, q
        Members, and directions of each.
    dimension
        Of the side.
    draws
        How many.
    """
    rows = n * q
    frames = rows * dimension * (2 * q + 150)
    small = min(rows, dimension)
    if small <= _EXACT:
        solving = rows * dimension * small + 12 * small**3
    else:
        width = _BLOCK * (_DEPTH + 1)
        solving = 4 * rows * dimension * width + 6 * dimension * width**2
    return draws * (frames + solving) / _FLOPS


def draw_sides(
    null: SideNull,
    side: Side,
    levels: Sequence[int],
    /,
    *,
    draws: int,
    rng: np.random.Generator,
) -> SideDraws:
    """Return what a null makes of a side.

    Parameters
    ----------
    null
        How to draw the frames.
    side
        Of a layer that was fitted with folds.
    levels
        The k asked for.
    draws
        How many.
    rng
        The side's own stream.

    Notes
    -----
    Energy beyond the members' leading directions is spread over the side
    evenly, as that of many small random directions is.
    """
    layer, dimension = side.layer, side.dimension
    order = list(side.order)
    s = layer.singular_values[order]
    fold_of = _folds(layer)[order]
    energies = np.maximum(np.diagonal(layer.gram)[order], np.sum(s**2, axis=1))
    rest = energies - np.sum(s**2, axis=1)
    counted = fold_of >= 0
    every, alone, halves = [], [], []
    for _ in range(draws):
        T = _frames(null, s, dimension, rng)
        vectors = _leading(T.reshape(-1, dimension), rng)
        every.append(_shares(T, vectors, energies, rest, levels))
        if counted.all():
            alone.append(every[-1])
        else:
            chosen = T[counted]
            own = _leading(chosen.reshape(-1, dimension), rng)
            alone.append(
                _shares(chosen, own, energies[counted], rest[counted], levels)
            )
        Y = T @ vectors[:, :_KEPT]
        sums = _by_fold(Y, fold_of)
        halves.append(split_halves(sums, levels, splits=5, rng=rng))
    return SideDraws(
        tuple(levels), np.array(every), np.array(alone), np.array(halves)
    )


def _folds(layer: LayerFit) -> NDArray[np.int64]:
    if layer.fold_of is None:
        return np.zeros(len(layer.members), np.int64)
    return layer.fold_of


def _frames(
    null: SideNull, s: Matrix, d: int, rng: np.random.Generator
) -> Real:
    """Return (N, K, d): random orthonormal rows, each as long as its s.

    The orthonormal rows nearest to normal ones, so that all are alike: Haar
    frames, without weights.
    """
    n, k = s.shape
    k = min(k, d)
    if n * k * d <= _SMALL:
        tall = rng.standard_normal((n, d, k)) * _spread(null, d)[:, None]
        left, _, right = svd(tall)
        rows = (left @ right).transpose(0, 2, 1)
        return np.asarray(s[:, :k, None] * rows)
    G = rng.standard_normal((n, k, d), dtype=np.float32)
    G *= _spread(null, d).astype(np.float32)
    products = (G @ G.transpose(0, 2, 1)).astype(np.float64)
    values, V = eigh(products)
    inverse = (V / np.sqrt(values)[:, None, :]) @ V.transpose(0, 2, 1)
    scaled = (s[:, :k, None] * inverse).astype(np.float32)
    return np.asarray(scaled @ G)


def _spread(null: SideNull, d: int) -> Vector:
    return np.ones(d) if null.weights is None else np.sqrt(null.weights)


def _leading(T: Real, rng: np.random.Generator) -> Real:
    """Return leading right singular vectors of T (rows, d), as columns."""
    rows, d = T.shape
    if min(rows, d) <= _EXACT:
        if d <= rows:
            C = (T.T @ T).astype(np.float64)
            return np.asarray(eigh(C)[1][:, ::-1].astype(T.dtype))
        left = eigh((T @ T.T).astype(np.float64))[1][:, ::-1]
        basis = T.T @ left[:, : 2 * _KEPT].astype(T.dtype)
        return np.asarray(qr(basis)[0])
    block = qr(rng.standard_normal((d, _BLOCK)).astype(T.dtype))[0]
    blocks = [block]
    for _ in range(_DEPTH):
        block = qr(T.T @ (T @ block))[0]
        blocks.append(block)
    Q = qr(np.concatenate(blocks, axis=1))[0]
    Y = T @ Q
    W = eigh((Y.T @ Y).astype(np.float64))[1][:, ::-1]
    return np.asarray(Q @ W[:, : 2 * _KEPT].astype(T.dtype))


def _shares(
    T: Real,
    vectors: Real,
    energies: Vector,
    rest: Vector,
    levels: Sequence[int],
) -> Vector:
    d = T.shape[2]
    scores = T.reshape(-1, d) @ vectors[:, : max(levels)]
    values = np.sum(np.square(scores, dtype=np.float64), axis=0)
    even = rest.sum() / d
    return explained(values + even, levels, total=float(energies.sum()))


def _by_fold(Y: Real, fold_of: NDArray[np.int64]) -> Matrix:
    sums = []
    for fold in range(int(fold_of.max()) + 1):
        rows = Y[fold_of == fold].reshape(-1, Y.shape[2]).astype(np.float64)
        sums.append(rows.T @ rows)
    return np.array(sums)
