"""One id a checkpoint: the shortest of its names that no other has."""

from collections.abc import Sequence

__all__ = ["unique_ids"]


def unique_ids(candidates: Sequence[tuple[str, ...]], /) -> list[str]:
    """Return the shortest id of each that no other has.

    Parameters
    ----------
    candidates
        Names for each checkpoint, the shortest first.
    """
    level = [0] * len(candidates)
    while True:
        names = [ids[n] for ids, n in zip(candidates, level, strict=True)]
        clashing = [
            index
            for same in _by_name(names).values()
            if len(same) > 1
            for index in same
            if level[index] + 1 < len(candidates[index])
        ]
        if not clashing:
            return _numbered(names)
        for index in clashing:
            level[index] += 1


def _by_name(names: Sequence[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        found.setdefault(name, []).append(index)
    return found


def _numbered(names: Sequence[str]) -> list[str]:
    """Return the names with ~2, ~3 behind what is still the same."""
    taken = set(names)
    seen: set[str] = set()
    unique = []
    for name in names:
        number, fresh = 1, name
        while fresh in seen or (number > 1 and fresh in taken):
            number += 1
            fresh = f"{name}~{number}"
        seen.add(fresh)
        unique.append(fresh)
    return unique
