"""Updates in groups of which each has bases of its own."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectra.apply.compression.joint_diagonalisation import Bases, Joint
from spectra.apply.compression.small import Small

__all__ = ["Clusters", "clusters"]

Matrix = NDArray[np.float64]
Labels = NDArray[np.intp]

_NOTHING = 1e-12
"""Of an update's squared norm: no more is missed by rounding alone."""

_STEPS = 50


@dataclass(frozen=True, slots=True)
class Clusters:
    """Bases, and by which of them each update is kept.

    Attributes
    ----------
    form
        Of the small matrices.
    bases
        One of each cluster.
    labels
        The cluster of each update, (N).
    """

    form: Joint
    bases: tuple[Bases, ...]
    labels: Labels

    def missed(self, updates: Small, /) -> Matrix:
        """Return what the best bases miss of any updates, squared."""
        missed: Matrix = _missed(self.form, updates, self.bases).min(axis=0)
        return missed

    def missed_of_own(self, updates: Small, /) -> Matrix:
        """Return what each of the fitted updates' own bases miss of it."""
        missed = np.zeros(len(updates))
        for cluster, bases in enumerate(self.bases):
            own = self.own(cluster)
            missed[own] = self.form.missed(updates.of(own), bases)
        return missed

    def own(self, cluster: int, /) -> Labels:
        """Return the updates of a cluster, by index."""
        return np.flatnonzero(self.labels == cluster)


def clusters(
    updates: Small, form: Joint, rank: int, count: int, /, *, seed: int
) -> Clusters:
    """Return clusters of updates and their bases, to a local optimum.

    Parameters
    ----------
    updates
        One or more.
    form
        Of the small matrices.
    rank
        Of all bases.
    count
        Clusters; fewer where fewer already miss nothing.
    seed
        Of the start.

    Notes
    -----
    As of Gabrielsson et al. (2024): each update goes to the bases that miss
    least of it, each cluster gets the best bases for its own, in turn, until
    none moves. The start is that of Arthur and Vassilvitskii (2007): bases of
    single updates, each drawn with a probability that is proportional to what
    those before it miss. A cluster that has lost all its updates gets that of
    which most is missed.
    """
    if count == 1:
        labels = np.zeros(len(updates), np.intp)
        return Clusters(form, (form.fit(updates, rank, None),), labels)
    bases = _seeds(updates, form, rank, count, np.random.default_rng(seed))
    labels = np.full(len(updates), -1)
    best, least = None, np.inf
    for _ in range(_STEPS):
        assigned = _assigned(_missed(form, updates, bases))
        if np.array_equal(assigned, labels):
            break
        bases = [
            _fitted(updates.of(assigned == c), form, rank, old)
            for c, old in enumerate(bases)
        ]
        labels = assigned
        found = Clusters(form, tuple(bases), labels)
        error = float(found.missed_of_own(updates).sum())
        if error < least:
            best, least = found, error
    return best or found


def _seeds(
    updates: Small,
    form: Joint,
    rank: int,
    count: int,
    rng: np.random.Generator,
) -> list[Bases]:
    left = updates.moved.astype(np.float64)
    bases: list[Bases] = []
    while len(bases) < count and (left.any() or not bases):
        total = left.sum()
        i = rng.choice(len(updates), p=left / total if total else None)
        bases.append(form.fit(updates.of([i]), rank, None))
        left = _missed(form, updates, bases).min(axis=0)
        left[left <= _NOTHING] = 0.0
    return bases


def _fitted(updates: Small, form: Joint, rank: int, old: Bases) -> Bases:
    """Return the better of the bases made anew and those made from old."""
    found = [form.fit(updates, rank, None)]
    if min(old.U.shape[1], old.V.shape[1]) == rank:
        found.append(form.fit(updates, rank, old))
    return min(found, key=lambda bases: bases.errors[-1])


def _assigned(missed: Matrix) -> Labels:
    """Return the cluster of each update, none of them empty."""
    labels: Labels = missed.argmin(axis=0)
    for cluster in range(len(missed)):
        if np.any(labels == cluster):
            continue
        sizes = np.bincount(labels, minlength=len(missed))
        least = np.where(sizes[labels] > 1, missed.min(axis=0), -1.0)
        labels[least.argmax()] = cluster
    return labels


def _missed(form: Joint, updates: Small, bases: Sequence[Bases]) -> Matrix:
    """Return what each of the bases misses of each update, (C, N)."""
    return np.stack([form.missed(updates, each) for each in bases])
