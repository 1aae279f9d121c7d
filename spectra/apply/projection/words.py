"""What a newcomer is to a population, in words."""

from collections.abc import Sequence
from typing import Any

from spectra.apply.projection.layer import AT_MEAN
from spectra.apply.projection.whole import Kin
from spectra.core.settings import OverlapSettings
from spectra.core.text import printable
from spectra.statistics.model_axis.effect import eligible
from spectra.statistics.plain import percent

__all__ = ["verdict"]

Document = dict[str, Any]

_UNUSUAL = 0.05
"""Share of the lineage groups of which less is held than of the newcomer,
below which it is told apart from them."""


def verdict(
    name: str,
    whole: Document,
    kin: Kin,
    ids: Sequence[str],
    settings: OverlapSettings,
    /,
    *,
    is_member: bool,
) -> Document:
    """Return ``word``, ``k`` and ``text``: what the newcomer is.

    Parameters
    ----------
    name
        Of the newcomer.
    whole
        All layers together.
    kin
        Who is like it.
    ids
        Of the population.
    settings
        Thresholds.
    is_member
        Whether it is one of the checkpoints of the run.
    """
    k, subject = _level(whole), printable(name)
    n_copied = "1 layer" if kin.n_copied == 1 else f"{kin.n_copied} layers"
    word = _word(whole, kin, k, settings, is_member=is_member)
    said = {
        "member": "is a checkpoint of the run, and helped to make what it is"
        " held against",
        "copy": _copy(kin, ids),
        "at-mean": "does not differ from the members' mean by more than"
        " rounding",
        "related": _related(kin, ids),
        "part-copy": f"has {n_copied} bit by bit from members, which helped"
        " to make what they are held against",
        "too-few-members": "cannot be held against the members: fewer than"
        f" {settings.fewest_groups} of them are independent",
        "typical": "lies among the members as they do among each other",
        "unusual": "has some of what the members share, but less than they",
        "not-better-than-random": "lies in the members' directions hardly"
        " more than in random ones of their span (less than"
        f" {percent(settings.weakly_shared)} more)"
        + _as_members(whole, k, settings),
    }[word]
    numbers = "" if k is None else f": {_numbers(whole, k)}"
    return {"word": word, "k": k, "text": f"{subject} {said}{numbers}"}


def _level(whole: Document) -> int | None:
    """Return the k at which the members have most more than by chance."""
    members = whole["members"]
    if members is None:
        return None
    effects = {
        k: effect
        for k in eligible(members["n_groups"])
        if (effect := _effect_of_members(members, k)) is not None
        and whole["captured"][str(k)] is not None
    }
    return max(effects, key=lambda k: (effects[k], -k), default=None)


def _effect_of_members(members: Document, k: int) -> float | None:
    held = members["captured"][str(k)]
    random = members["captured_random"][str(k)]
    return None if held is None else float(held["median"] - random)


def _word(
    whole: Document,
    kin: Kin,
    k: int | None,
    settings: OverlapSettings,
    *,
    is_member: bool,
) -> str:
    known = {
        "member": is_member,
        "copy": bool(kin.copies),
        "at-mean": whole.get("captured_reason") == AT_MEAN,
        "related": bool(kin.related),
        "part-copy": bool(kin.n_copied),
    }
    for word, holds in known.items():
        if holds:
            return word
    few = settings.fewest_groups
    if k is None or whole["members"]["n_groups"] < few:
        return "too-few-members"
    at = str(k)
    effect = whole["captured"][at] - whole["captured_random"][at]
    if effect < settings.weakly_shared:
        return "not-better-than-random"
    place = whole["members"]["place"][at]
    return "typical" if place >= _UNUSUAL else "unusual"


def _copy(kin: Kin, ids: Sequence[str]) -> str:
    if not kin.copies:
        return ""
    name = printable(ids[kin.copies[0]])
    return f"is a copy of {name} in every layer that was compared"


def _related(kin: Kin, ids: Sequence[str]) -> str:
    if not kin.related:
        return ""
    first, *others = kin.related
    more = f" and {len(others)} more" if others else ""
    return (
        f"is of the same lineage as {printable(ids[first])}"
        f" (cosine {kin.cosines[first]:.4f}){more}, which helped to make what"
        " it is held against"
    )


def _as_members(
    whole: Document, k: int | None, settings: OverlapSettings
) -> str:
    """Return whether that sets it apart from the members."""
    if k is None:
        return ""
    effect = _effect_of_members(whole["members"], k)
    if effect is not None and effect < settings.weakly_shared:
        return ", as most members do in each other's"
    place = whole["members"]["place"][str(k)]
    if place is None:
        return ""
    return (
        ", as some members do" if place >= _UNUSUAL else ", unlike the members"
    )


def _numbers(whole: Document, k: int) -> str:
    at, members = str(k), whole["members"]
    directions = "1 direction holds" if k == 1 else f"{k} directions hold"
    random = "a random one" if k == 1 else "random ones"
    held, r2 = members["captured"][at], whole["r2_mean"]
    mean = "" if r2 is None else f"; the mean alone explains {percent(r2)}"
    return (
        f"{directions} {percent(whole['captured'][at])} of its distance from"
        f" their mean ({random} {percent(whole['captured_random'][at])}); of a"
        f" member's, held out with its lineage, {percent(held['median'])}"
        f" (median of {members['n_groups']}; {percent(held['least'])} to"
        f" {percent(held['most'])}){mean}"
    )
