"""Merges that treat each entry on its own.

Both were published for full weights, and are by default what their code does:
with the entries of the updates (out, in), a few rows of which are formed at a
time. With those of the cores they are another method, that of Panariello et
al. (2025), which costs next to nothing and depends on the cores' axes.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spectra.apply.merging.core_space import CoreSpace
from spectra.apply.merging.entries import Entries, Space, entries_of
from spectra.apply.merging.framed import Framed
from spectra.apply.merging.trimming import counted, least_kept, trimmed

__all__ = ["dare", "elected_mean", "surviving", "ties", "ties_of"]

Vector = NDArray[np.float64]
Stack = NDArray[np.float64]


def ties(
    updates: CoreSpace,
    /,
    *,
    density: float = 0.2,
    lam: float = 1.0,
    space: Space = "dense",
    least: Vector | None = None,
) -> Framed:
    """Return TIES of the updates: trim, elect signs, average who agrees.

    Parameters
    ----------
    updates
        Of a layer; in the cores the result depends on their axes.
    density
        Share of the entries of each update that are kept, those of greatest
        magnitude; 0.2 is that of Yadav et al. (2023), while the code of
        Panariello et al. (2025) keeps 0.1 unless told otherwise.
    lam
        Multiplies the result.
    space
        Of what the entries are.
    least
        The magnitude of each update below which entries are zero, from all
        layers together as in the code of Yadav et al. (2023); None for the
        share of this layer alone, as in that of Panariello et al. (2025).
    """
    entries = entries_of(updates, space=space)
    return ties_of(entries, density=density, lam=lam, least=least)


def ties_of(
    entries: Entries,
    /,
    *,
    density: float,
    lam: float = 1.0,
    least: Vector | None = None,
) -> Framed:
    """Return TIES of some entries; the rest as of `ties`."""
    if least is None:
        least = least_kept(
            lambda digits: counted(entries, digits), len(entries), density
        )
    return entries.merged(
        lambda stack: lam * elected_mean(trimmed(stack, least))
    )


def dare(
    updates: CoreSpace,
    /,
    *,
    density: float = 0.7,
    lam: float = 1.0,
    seed: int | Sequence[int] = 0,
    space: Space = "dense",
) -> Framed:
    """Return the sum of the updates, each with random entries left out.

    Parameters
    ----------
    updates
        Of a layer, in the order of which the entries are drawn; in the cores
        the result depends on their axes too.
    density
        Probability that an entry is kept, divided by which it then is: the
        drop rate of Yu et al. (2024) is 1 - density. They combine it with
        other merges too; the sum is that of the code of Panariello et al.
        (2025), as is the default, and its expectation is task arithmetic.
    lam
        Multiplies the result.
    seed
        Of NumPy's generators, one an update: an update's place goes with it.
        Layers of one shape lose the same entries unless they are given
        different ones, such as ``(seed, layer)``.
    space
        Of what the entries are.
    """
    seeds = [seed] if isinstance(seed, int) else list(seed)
    draws = [np.random.default_rng([*seeds, i]) for i in range(len(updates))]

    def merge(stack: Stack) -> Stack:
        drawn = np.stack([rng.random(stack.shape[1:]) for rng in draws])
        return surviving(stack, drawn, density=density, lam=lam)

    return entries_of(updates, space=space).merged(merge)


def surviving(
    stack: Stack, drawn: Stack, /, *, density: float, lam: float
) -> Stack:
    """Return the sum over the members of entries for which less was drawn.

    Parameters
    ----------
    stack
        Members (N, ...).
    drawn
        Numbers of [0, 1), one an entry.
    density, lam
        As of `dare`.
    """
    merged: Stack = (lam / density) * np.sum(
        stack, axis=0, where=drawn < density
    )
    return merged


def elected_mean(stack: Stack, /) -> Stack:
    """Return each entry's average over the members of the elected sign.

    Parameters
    ----------
    stack
        Members (N, ...). The sign of the sum is elected; zeros have no voice,
        and where the sum is zero nobody is elected. The published code gives
        such an entry the sign that most others have.
    """
    sign = np.sign(np.sum(stack, axis=0))
    agrees = stack * sign > 0
    count = np.maximum(1, np.count_nonzero(agrees, axis=0))
    merged: Stack = np.sum(stack, axis=0, where=agrees) / count
    return merged
