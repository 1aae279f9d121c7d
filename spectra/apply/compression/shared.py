"""A layer of adapters as shared bases, and what that loses of its members."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.apply.compression.clusters import Clusters, clusters
from spectra.apply.compression.joint_diagonalisation import joint
from spectra.apply.compression.layer import Wish
from spectra.apply.compression.scheme import Scheme
from spectra.apply.compression.small import Small, small
from spectra.apply.merging.core_space import CoreSpace, core_space
from spectra.statistics.plain import number, numbers, with_reason
from spectra.subspaces.recipes.table import Factors

__all__ = ["Shared", "Tensors", "shared", "shared_nbytes"]

Matrix = NDArray[np.float64]
Document = dict[str, Any]

_FOLDS = 8
"""At most so many fits judge a layer: of more lineage groups several are held
out together."""

_ROUNDING = 1e-12
"""Of the squared norms: what is missed of all of them, and is nothing."""

_ALONE = "one lineage group: there is no other to judge it by"
_UNMOVED = "no member has moved"


@dataclass(frozen=True, slots=True)
class Tensors:
    """Bases of one cluster, and its members' small matrices.

    Attributes
    ----------
    U, V
        (out, R) and (in, R).
    sigma
        (n, R, R) or (n, R), the members' norms in it.
    """

    U: Matrix
    V: Matrix
    sigma: Matrix


@dataclass(frozen=True, slots=True)
class Shared:
    """A layer's members, what they share, and what is lost of them.

    Attributes
    ----------
    tensors
        One entry a cluster; in each the members in the layer's order.
    document
        As ``compressed.json`` holds it.
    """

    tensors: tuple[Tensors, ...]
    document: Document


def shared(
    members: Sequence[Factors],
    scheme: Scheme,
    wish: Wish,
    groups: Sequence[int],
    /,
) -> Shared:
    """Return a layer's shared bases.

    Parameters
    ----------
    members
        The updates of its distinct members.
    scheme
        One of joint diagonalisation.
    wish
        The rank of the bases, or what they have to keep.
    groups
        The lineage group of each member: who is held out with whom.
    """
    space = core_space(members, axes="updates")
    updates = small(space)
    rank = _rank(updates, scheme, wish)
    found = _found(updates, scheme, rank)
    error = _mean(found.missed_of_own(updates), updates)
    return Shared(
        tuple(_tensors(space, updates, found)),
        {
            "k": max(max(b.U.shape[1], b.V.shape[1]) for b in found.bases),
            **_losses(
                updates, found, _held_out(updates, scheme, rank, groups)
            ),
            **wish.told(error is None or error <= _allowed(wish)),
            "converged": all(bases.converged for bases in found.bases),
            "clusters": found.labels.tolist(),
        },
    )


def shared_nbytes(
    shape: tuple[int, int], ranks: Sequence[int], wish: Wish, clusters: int, /
) -> int:
    """Return at most what `shared` takes, in bytes.

    Parameters
    ----------
    shape
        (out, in) of the layer.
    ranks
        Of its members.
    wish
        Of which the rank of the bases is.
    clusters
        How many.
    """
    total, n = sum(ranks), len(ranks)
    p, q = (min(total, side) for side in shape)
    most = total if wish.k is None else min(wish.k, total)
    padded = n * max(ranks)
    # Factors, triplets, frames; a step's copies of both sides; Gram matrices;
    # what comes out, in both coordinates and widths.
    return 8 * (
        8 * total * sum(shape)
        + 6 * padded * (p + q)
        + 3 * (p * p + q * q)
        + 3 * clusters * most * (p + q + sum(shape))
        + 4 * n * most * most
    )


def _found(updates: Small, scheme: Scheme, rank: int) -> Clusters:
    return clusters(
        updates, joint(scheme.name), rank, scheme.clusters, seed=scheme.seed
    )


def _rank(updates: Small, scheme: Scheme, wish: Wish) -> int:
    """Return the rank asked for, or by bisection the least that is enough."""
    most = max(1, updates.rank)
    if wish.k is not None:
        return min(wish.k, most)
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        found = _found(updates, scheme, middle)
        error = _mean(found.missed_of_own(updates), updates)
        if error is None or error <= _allowed(wish):
            high = middle
        else:
            low = middle
    return high


def _allowed(wish: Wish) -> float:
    return 1 - (wish.energy or 0.0) + _ROUNDING


def _held_out(
    updates: Small, scheme: Scheme, rank: int, groups: Sequence[int]
) -> Matrix | None:
    """Return what is missed of each member by bases of the other groups."""
    order = list(dict.fromkeys(groups))
    if len(order) < 2:
        return None
    fold = np.array([order.index(group) % _FOLDS for group in groups])
    missed = np.zeros(len(updates))
    for now in range(min(_FOLDS, len(order))):
        out = np.flatnonzero(fold == now)
        others = _found(updates.of(fold != now), scheme, rank)
        missed[out] = others.missed(updates.of(out))
    return missed


def _losses(
    updates: Small, found: Clusters, held_out: Matrix | None
) -> Document:
    missed = found.missed_of_own(updates)
    judged = (
        (None, None)
        if held_out is None
        else (_mean(held_out, updates), _kept(held_out, updates))
    )
    why = _ALONE if held_out is None and updates.moved.any() else _UNMOVED
    return {
        **with_reason("error_in_sample", _mean(missed, updates), _UNMOVED),
        **with_reason("error_held_out", judged[0], why),
        **with_reason("r2_in_sample", _kept(missed, updates), _UNMOVED),
        **with_reason("r2_held_out", judged[1], why),
        "errors": numbers(np.where(updates.moved, missed, np.nan)),
    }


def _mean(missed: Matrix, updates: Small) -> float | None:
    """Return the mean over the members that have moved."""
    if not updates.moved.any():
        return None
    return number(missed[updates.moved].mean())


def _kept(missed: Matrix, updates: Small) -> float | None:
    """Return the share of the sum of all squared norms that is kept."""
    squares = np.where(updates.moved, updates.norms**2, 0.0)
    if not squares.any():
        return None
    return number(1 - (squares @ missed) / squares.sum())


def _tensors(
    space: CoreSpace, updates: Small, found: Clusters
) -> list[Tensors]:
    kept = []
    for cluster, bases in enumerate(found.bases):
        own = found.own(cluster)
        sigma = found.form.sigma(updates.of(own), bases)
        norms = updates.norms[own].reshape(-1, *[1] * (sigma.ndim - 1))
        kept.append(
            Tensors(space.U @ bases.U, space.V @ bases.V, sigma * norms)
        )
    return kept
