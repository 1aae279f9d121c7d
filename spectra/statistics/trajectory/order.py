"""Which checkpoint of one training run comes before which."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from spectra.core.errors import UsageError
from spectra.statistics.kinship.relations import Relations
from spectra.subspaces.result import Member

__all__ = ["Order", "order_of"]

_NUMBER = re.compile(r"([0-9]+)")


@dataclass(frozen=True, slots=True)
class Order:
    """Checkpoints from the first to the last.

    Attributes
    ----------
    members
        Their places in the population.
    ids
        Theirs.
    steps
        The number in which their ids differ; None where several numbers do.
    left_out
        Ids of copies of one of them under a name of another kind.
    """

    members: tuple[int, ...]
    ids: tuple[str, ...]
    steps: tuple[int, ...] | None
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Name:
    """An id as numbers, and the text around them."""

    place: int
    id: str
    text: tuple[str, ...]
    numbers: tuple[int, ...]

    @classmethod
    def of(cls, place: int, member: Member, /) -> "_Name":
        """Return it; the digits of a commit are no number."""
        commit = f"@{(member.revision or '')[:7]}"
        if commit != "@" and commit in member.id:
            return cls(place, member.id, (member.id,), ())
        parts = _NUMBER.split(member.id)
        numbers = tuple(map(int, parts[1::2]))
        return cls(place, member.id, tuple(parts[::2]), numbers)


def order_of(models: Sequence[Member], relations: Relations, /) -> Order:
    """Return the checkpoints in the order of the numbers in their ids.

    Parameters
    ----------
    models
        Of the population.
    relations
        Who has a layer, and who equals whom in all layers it has: a copy of a
        name of another kind, such as ``final``, is left out.

    Raises
    ------
    UsageError
        ``E_ORDER`` when ids differ in more than numbers, or when their
        numbers are equal or contradict one another.
    """
    twins = relations.twins
    names = [
        _Name.of(i, member)
        for i, member in enumerate(models)
        if relations.has_layer[i]
    ]
    if not names:
        return Order((), (), (), ())
    (kind, _), *_ = Counter(name.text for name in names).most_common(1)
    alike = sorted(
        (name for name in names if name.text == kind),
        key=lambda name: name.numbers,
    )
    for a, b in pairwise(alike):
        _require_before(a, b)
    others = [name for name in names if name.text != kind]
    spoken_for = {twins.get(name.place, name.place) for name in alike}
    for name in others:
        if twins.get(name.place, name.place) not in spoken_for:
            why = "they differ in more than numbers"
            raise _unordered(alike[0], name, why)
    return Order(
        members=tuple(name.place for name in alike),
        ids=tuple(name.id for name in alike),
        steps=_steps(alike),
        left_out=tuple(name.id for name in others),
    )


def _require_before(a: _Name, b: _Name) -> None:
    if a.numbers == b.numbers:
        raise _unordered(a, b, "their numbers are equal")
    if any(x > y for x, y in zip(a.numbers, b.numbers, strict=True)):
        raise _unordered(a, b, "one number rises where another falls")


def _unordered(a: _Name, b: _Name, why: str) -> UsageError:
    return UsageError(
        "E_ORDER",
        f"{a.id} and {b.id} are not in an order of steps: {why}",
        advice="fit checkpoints of one training run alone, whose names differ"
        " in their step, such as checkpoint-100 and checkpoint-200",
    )


def _steps(names: Sequence[_Name]) -> tuple[int, ...] | None:
    columns = zip(*(name.numbers for name in names), strict=True)
    moving = [column for column in columns if column[0] != column[-1]]
    return moving[0] if len(moving) == 1 else None
