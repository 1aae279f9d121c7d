"""The listing of models: conditions, order and pages."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar
from urllib.parse import urlencode

from tests.hub.fields import FIELDS, FULL, LISTED, describe
from tests.hub.messages import Answer, Asked, Refused, json_answer, refusal
from tests.hub.repository import Repository
from tests.hub.shelf import Shelf

T = TypeVar("T")
Keeps = Callable[[Repository, list[str]], bool]

LIMITS = re.compile(r"(?:min:([\d.]+)([KMBT]?))?,?(?:max:([\d.]+)([KMBT]?))?")
UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
LATEST = "trendingScore"
ORDERS = {"createdAt", "lastModified", "downloads", "likes", LATEST}
OTHERS = {
    "sort",
    "direction",
    "limit",
    "cursor",
    "expand",
    "full",
    "config",
    "cardData",
}


def has_parameters(repository: Repository, values: list[str], /) -> bool:
    found = LIMITS.fullmatch(values[0])
    if found is None or not values[0]:
        raise bad(f"num_parameters is {values[0]}")
    low, low_unit, high, high_unit = found.groups("")
    count = repository.num_parameters
    return (
        count is not None
        and count >= float(low or 0) * UNITS[low_unit]
        and count <= float(high or "inf") * UNITS[high_unit]
    )


CONDITIONS: Mapping[str, Keeps] = MappingProxyType(
    {
        "filter": lambda each, tags: each.tag_set.issuperset(tags),
        "search": lambda each, words: words[0].lower() in each.id.lower(),
        "author": lambda each, names: each.author == names[0],
        "gated": lambda each, yes: (
            bool(each.gated) == (yes[0].lower() == "true")
        ),
        "pipeline_tag": lambda each, tasks: each.pipeline_tag == tasks[0],
        "num_parameters": has_parameters,
    }
)


def models(shelf: Shelf, asked: Asked, /) -> Answer:
    """Return a page of the models that meet all conditions."""
    asked.allow(CONDITIONS.keys() | OTHERS)
    conditions = [
        (CONDITIONS[name], values)
        for name, values in asked.query.items()
        if name in CONDITIONS
    ]
    found = [
        each
        for each in tuple(shelf.repositories.values())
        if shelf.shows(each, asked)
        and all(keeps(each, values) for keeps, values in conditions)
    ]
    ordered = in_order(found, asked)
    keys = keys_of(asked)
    return paged(asked, ordered, shelf.page, lambda each: describe(each, keys))


def in_order(found: list[Repository], asked: Asked, /) -> list[Repository]:
    """Return the models in the order asked for, the largest first."""
    key = asked.first("sort")
    if not key:
        return found
    if key not in ORDERS or asked.first("direction", "-1") not in {"-1", "1"}:
        raise bad(f"sort is {key}, direction {asked.first('direction')}")
    backwards = asked.first("direction", "-1") == "-1"
    return sorted(found, key=FIELDS[key], reverse=backwards)


def keys_of(asked: Asked, /) -> tuple[str, ...]:
    """Return the keys to tell of each model."""
    if expand := asked.query.get("expand"):
        return expanded(expand)
    extra = [key for key in ("config", "cardData") if asked.flag(key)]
    return (*(FULL if asked.flag("full") else LISTED), *extra)


def expanded(keys: Iterable[str], /) -> tuple[str, ...]:
    """Return the keys, or refuse one that the hub has not."""
    if unknown := set(keys) - FIELDS.keys():
        raise bad(f"expand is {', '.join(sorted(unknown))}")
    return tuple(keys)


def paged(
    asked: Asked,
    found: Sequence[T],
    page: int,
    tell: Callable[[T], Any],
    /,
) -> Answer:
    """Return a page of what was found, and the way to the next one."""
    start, limit = number(asked, "cursor", 0), number(asked, "limit", page)
    stop = start + min(page, limit)
    answer = json_answer([tell(each) for each in found[start:stop]])
    if stop >= len(found):
        return answer
    query = urlencode({**asked.query, "cursor": stop}, doseq=True)
    link = f'<{asked.origin}{asked.raw_path}?{query}>; rel="next"'
    return answer.with_headers(Link=link)


def number(asked: Asked, name: str, default: int, /) -> int:
    text = asked.first(name) or str(default)
    if not text.isdecimal():
        raise bad(f"{name} is {text}")
    return int(text)


def bad(message: str, /) -> Refused:
    return Refused(refusal(400, "", f"Bad request: {message}"))
