"""Checkpoints that have most of their layers in common, by sets of layers."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from spectra.core.catalog import Architecture, Checkpoint, LayerKey

__all__ = ["group"]

Layers = frozenset[LayerKey]


def group(
    checkpoints: Sequence[Checkpoint], /
) -> tuple[tuple[Checkpoint, ...], tuple[Architecture, ...]]:
    """Return the checkpoints with their architectures, and these.

    Two checkpoints belong together where they share, with names, shapes and
    kind, at least half of the layers of the smaller one; and so does whatever
    is connected through others.

    Parameters
    ----------
    checkpoints
        In the order in which members and architectures are to stand.

    Returns
    -------
    tuple
        Checkpoints, architectures.

    Notes
    -----
    Populations have few distinct sets of layers, so that sets are compared
    and not checkpoints; and a set only with sets it is not yet connected to.
    """
    holdings = [
        frozenset(key for key, _ in checkpoint.layers)
        for checkpoint in checkpoints
    ]
    component = _components(dict.fromkeys(holdings))
    members: dict[int, list[int]] = {}
    for index, holding in enumerate(holdings):
        members.setdefault(component[holding], []).append(index)
    named = list(checkpoints)
    architectures = []
    for indices in members.values():
        layers = _common(holdings[index] for index in indices)
        name = _name(layers)
        ids = tuple(checkpoints[index].id for index in indices)
        architectures.append(Architecture(name, layers, ids))
        for index in indices:
            named[index] = replace(checkpoints[index], architecture=name)
    return tuple(named), tuple(architectures)


def _components(holdings: Iterable[Layers]) -> dict[Layers, int]:
    """Return a number of the connected group of each set of layers."""
    groups: dict[int, list[Layers]] = {}
    for number, holding in enumerate(holdings):
        near = [
            other
            for other, members in groups.items()
            if any(_belong(holding, member) for member in members)
        ]
        joined = [holding]
        for other in near:
            joined += groups.pop(other)
        groups[min([*near, number])] = joined
    return {
        holding: number
        for number, members in groups.items()
        for holding in members
    }


def _belong(one: Layers, other: Layers) -> bool:
    return 2 * len(one & other) >= max(1, min(len(one), len(other)))


def _common(holdings: Iterable[Layers]) -> tuple[LayerKey, ...]:
    """Return the layers that two members hold, or all of the only one's."""
    holdings = list(holdings)
    counts = Counter(key for holding in holdings for key in holding)
    enough = min(2, len(holdings))
    return tuple(sorted(key for key, n in counts.items() if n >= enough))


def _name(layers: tuple[LayerKey, ...]) -> str:
    digest = hashlib.sha256()
    for key in layers:
        digest.update(repr((key.name, key.shape, key.kind)).encode())
    kind = layers[0].kind if layers else "empty"
    return f"{kind}-{digest.hexdigest()[:8]}"
