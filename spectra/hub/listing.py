"""Repositories of a hub: each with its commit and its files, by the page."""

import json
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from spectra.core.catalog import Quarantined
from spectra.core.errors import Quarantine
from spectra.core.settings import HubQuery
from spectra.core.text import printable
from spectra.hub.client import Client
from spectra.hub.failures import HubError
from spectra.hub.kept_pages import pages_of
from spectra.hub.reference import Reference, is_commit, is_repository

__all__ = ["Repository", "list_repositories", "read_repository"]

_PAGE = 1000
_API = "/api/models"
_WANTED = (
    "sha",
    "siblings",
    "gated",
    "private",
    "disabled",
    "tags",
    "baseModels",
    "cardData",
)


@dataclass(frozen=True, slots=True)
class Repository:
    """A model repository at one commit.

    Attributes
    ----------
    files
        Their paths; foreign text.
    license, base
        What its card says: claims.
    """

    id: str
    commit: str
    files: tuple[str, ...]
    license: str | None = None
    base: str | None = None


def list_repositories(
    client: Client, query: HubQuery, /, *, limit: int | None, folder: Path
) -> Iterator[Repository | Quarantined]:
    """Yield what a query finds, as many pages as that takes.

    Parameters
    ----------
    client
        Of the hub.
    query
        What to look for.
    limit
        At most so many repositories.
    folder
        Keeps the pages of a listing that was broken off: the same query goes
        on from there.

    Raises
    ------
    HubError
        Where the hub cannot be reached.
    """
    params = [*_conditions(query), ("limit", str(min(limit or _PAGE, _PAGE)))]
    params += [("expand", name) for name in _WANTED]
    rows = _rows(client, params, folder)
    with closing(rows):
        for row in islice(rows, limit):
            yield _entry(row)


def _rows(
    client: Client, params: Sequence[tuple[str, str]], folder: Path
) -> Generator[Any, None, None]:
    """Yield the entries of a listing; one that repeats itself has no end."""
    seen: set[str] = set()
    with closing(pages_of(client, _API, params, folder=folder)) as pages:
        for document in pages:
            rows = {json.dumps(row): row for row in _list(document)}
            if rows and rows.keys() <= seen:
                raise HubError(
                    "E_PAGINATION", "the hub's listing repeats itself"
                )
            seen |= rows.keys()
            yield from rows.values()


def read_repository(client: Client, asked: Reference, /) -> Repository:
    """Return one repository at the commit of a revision.

    Raises
    ------
    Quarantine
        GATED, REPO_GONE, DISABLED, REVISION or MOVED.
    HubError
        Where the hub cannot be reached.
    """
    path = f"{_API}/{asked.repo}"
    if asked.revision is not None:
        path += f"/revision/{asked.revision.replace('/', '%2F')}"
    params = [("expand", name) for name in _WANTED]
    return _repository(client.json(path, params, repo=asked.repo).document)


def _conditions(query: HubQuery) -> list[tuple[str, str]]:
    params = [("filter", tag) for tag in query.filter]
    if query.base_model:
        relation = f"{query.relation}:" if query.relation else ""
        params.append(("filter", f"base_model:{relation}{query.base_model}"))
    for name in ("author", "search", "num_parameters"):
        value = getattr(query, name)
        if value:
            params.append((name, value))
    if query.sort:
        params.append(("sort", _SORTS.get(query.sort, query.sort)))
    return params


_SORTS = {
    "created_at": "createdAt",
    "last_modified": "lastModified",
    "trending_score": "trendingScore",
}
"""What the hub calls what its client calls by other names."""


def _entry(row: Any) -> Repository | Quarantined:
    try:
        return _repository(row)
    except Quarantine as fault:
        name = row.get("id") if isinstance(row, dict) else None
        shown = printable(name) if isinstance(name, str) else "?"
        return Quarantined(shown, None, fault.code, fault.detail)


def _repository(row: Any) -> Repository:
    found = row if isinstance(row, dict) else {}
    name, commit = found.get("id"), found.get("sha")
    siblings = found.get("siblings")
    if not isinstance(name, str) or not is_repository(name):
        raise Quarantine("LISTING", "the hub lists no name that is one")
    if found.get("disabled") is True:
        raise Quarantine("DISABLED", f"the hub has disabled {name}")
    if not isinstance(commit, str) or not is_commit(commit):
        raise Quarantine("LISTING", f"the hub tells no commit of {name}")
    if not isinstance(siblings, list):
        raise Quarantine("LISTING", f"the hub lists no files of {name}")
    paths = (s.get("rfilename") for s in siblings if isinstance(s, dict))
    return Repository(
        name,
        commit,
        tuple(sorted(path for path in paths if isinstance(path, str))),
        *_claims(found),
    )


def _claims(found: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return licence and base model, from card, relations and tags."""
    card = _mapping(found.get("cardData"))
    tags = [t for t in _list(found.get("tags")) if isinstance(t, str)]
    models = _list(_mapping(found.get("baseModels")).get("models"))
    bases = [m.get("id") for m in models if isinstance(m, dict)]
    bases += _list(card.get("base_model")) or [card.get("base_model")]
    bases += [tag.rpartition(":")[2] for tag in tags if _is_base(tag)]
    licenses = [card.get("license")]
    licenses += [t.partition(":")[2] for t in tags if t.startswith("license:")]
    return _text(licenses), _text(bases)


def _is_base(tag: str) -> bool:
    return tag.startswith("base_model:")


def _text(values: Iterable[Any]) -> str | None:
    return next((v for v in values if isinstance(v, str) and v), None)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
