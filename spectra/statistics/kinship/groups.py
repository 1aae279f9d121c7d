"""Which members belong together: by their random start, and by descent.

Members are joined where two are alike, and where a chain of such pairs is.
"""

from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from spectra.core.errors import UsageError
from spectra.core.settings import OverlapSettings
from spectra.statistics.kinship.relations import Relations

__all__ = [
    "Grouping",
    "effective_number",
    "given",
    "initialisation",
    "lineage",
    "one_run",
    "start_thresholds",
]

Alike = NDArray[np.bool_]
Labels = tuple[int | None, ...]


def _grid(first: float, last: float) -> tuple[float, ...]:
    return tuple(np.round(np.arange(first, last + 0.01, 0.05), 2).tolist())


_START_GRID = _grid(0.15, 0.60)
_UPDATES_GRID = _grid(0.20, 0.90)
_WEIGHTS_GRID = _grid(0.50, 0.95)


@dataclass(frozen=True, slots=True)
class Grouping:
    """A partition of the population.

    Attributes
    ----------
    labels
        One a member, numbered by first appearance; None for a member that
        cannot be compared.
    threshold
        Cosine above which two members are alike; None where there is no one
        such number.
    stable
        The lowest and highest threshold, on a coarse grid, up to which the
        partition is the same.
    reason
        Why there is no threshold.
    """

    labels: Labels
    threshold: float | None = None
    stable: tuple[float, float] | None = None
    reason: str | None = None

    @property
    def count(self) -> int:
        """Return the number of groups."""
        return len({label for label in self.labels if label is not None})

    def sizes(self, *, without: Container[int] = ()) -> Counter[int]:
        """Return the number of members of each group, some left out."""
        return Counter(
            label
            for i, label in enumerate(self.labels)
            if label is not None and i not in without
        )


def start_thresholds(settings: OverlapSettings, /) -> tuple[float, ...]:
    """Return the thresholds at which random starts are compared."""
    return tuple(sorted({*_START_GRID, settings.initialisation_threshold}))


def initialisation(
    relations: Relations, settings: OverlapSettings, /
) -> Grouping | None:
    """Return who shares a random start, None where there are no factors.

    Two members are alike where more than half of the layers that both have
    say so.
    """
    if not relations.has_start.any():
        return None

    def partition(threshold: float) -> Labels:
        votes = relations.start_votes[threshold]
        return _components(
            2 * votes > relations.start_layers, relations.has_start
        )

    threshold = settings.initialisation_threshold
    return _at_threshold(partition, threshold, _START_GRID)


def lineage(relations: Relations, settings: OverlapSettings, /) -> Grouping:
    """Return who descends from whom, as far as the weights say.

    Updates decide between two members that have any in common; whole weights
    decide between others.
    """
    by_update = ~np.isnan(relations.updates)

    def partition(of_weights: float, of_updates: float) -> Labels:
        alike = np.where(
            by_update,
            relations.updates > of_updates,
            relations.weights > of_weights,
        )
        for copy, twin in relations.twins.items():
            alike[copy, twin] = True
        return _components(alike, relations.has_layer)

    weights = settings.lineage_threshold_weights
    updates = settings.lineage_threshold_updates
    if not by_update.any():
        return _at_threshold(
            lambda t: partition(t, updates), weights, _WEIGHTS_GRID
        )
    if not (~np.isnan(relations.weights) & ~by_update).any():
        return _at_threshold(
            lambda t: partition(weights, t), updates, _UPDATES_GRID
        )
    return Grouping(
        partition(weights, updates),
        reason=f"whole weights are alike above {weights:g}, updates above"
        f" {updates:g}",
    )


def given(
    groups: Mapping[str, str], ids: Sequence[str], relations: Relations, /
) -> Grouping:
    """Return the groups that were given; a copy belongs to its twin's.

    Raises
    ------
    UsageError
        When an analysed member has none.
    """
    missing = [
        name
        for i, name in enumerate(ids)
        if relations.has_layer[i] and name not in groups
    ]
    if missing:
        raise UsageError(
            "E_GROUPS",
            f"no group is given for {len(missing)} of {len(ids)} members,"
            f" the first of them {missing[0]}",
            advice="name a group for every member",
        )
    names = [
        groups[ids[relations.twins.get(i, i)]] if present else None
        for i, present in enumerate(relations.has_layer)
    ]
    return Grouping(_numbered(names), reason="groups were given")


def one_run(relations: Relations, /) -> Grouping:
    """Return the one group of what is ordered: each descends from another.

    A random walk drifts so far that cosines alone would take it apart.
    """
    labels = tuple(0 if present else None for present in relations.has_layer)
    return Grouping(labels, reason="they are of one training run")


def _numbered(names: Sequence[object]) -> Labels:
    seen: dict[object, int] = {}
    return tuple(
        None if name is None else seen.setdefault(name, len(seen))
        for name in names
    )


def _components(alike: Alike, present: Alike) -> Labels:
    _, labels = connected_components(alike, directed=False)
    return _numbered(
        [
            int(label) if there else None
            for label, there in zip(labels, present, strict=True)
        ]
    )


def _at_threshold(
    partition: Callable[[float], Labels],
    threshold: float,
    grid: Sequence[float],
) -> Grouping:
    labels = partition(threshold)
    low = high = threshold
    for lower in sorted((t for t in grid if t < threshold), reverse=True):
        if partition(lower) != labels:
            break
        low = lower
    for higher in sorted(t for t in grid if t > threshold):
        if partition(higher) != labels:
            break
        high = higher
    return Grouping(labels, threshold, (low, high))


def effective_number(
    shares: Sequence[Mapping[int, float]], n_groups: int, /
) -> float | None:
    """Return Kish's effective number of groups, None where no layer counts.

    Parameters
    ----------
    shares
        For each layer, each group's share of the squared deviation norms.
    n_groups
        The most it can be.
    """
    weights: Counter[int] = Counter()
    for layer in shares:
        weights.update(layer)
    squares = sum(weight**2 for weight in weights.values())
    if not squares:
        return None
    return float(min(n_groups, sum(weights.values()) ** 2 / squares))
