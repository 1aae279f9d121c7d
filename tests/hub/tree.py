"""The files and folders of a model."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

from tests.hub.content import Content, git_name, is_large
from tests.hub.listing import paged
from tests.hub.messages import Answer, Asked, Refused, json_answer, refusal
from tests.hub.repository import Repository
from tests.hub.shelf import Shelf, commit_of

EXPANDED = 50
SAFE = {"status": "safe", "avScan": None, "pickleImportScan": None}


def tree(shelf: Shelf, asked: Asked, parts: dict[str, str], /) -> Answer:
    """Return a page of the entries below a folder."""
    asked.allow({"recursive", "expand", "cursor", "limit"})
    repository = shelf.find(asked, parts["id"])
    commit = commit_of(repository, parts["revision"])
    below = f"{parts['file']}/" if parts["file"] else ""
    paths = [each for each in entries(repository) if each.startswith(below)]
    if below and not paths:
        message = f"{parts['file']} does not exist on this revision"
        raise Refused(refusal(404, "EntryNotFound", message))
    if not asked.flag("recursive"):
        paths = [each for each in paths if "/" not in each[len(below) :]]
    last = commit if asked.flag("expand") else None
    page = min(shelf.page, EXPANDED) if last else shelf.page
    return paged(
        asked, paths, page, lambda each: entry(repository, each, last)
    )


def paths_info(shelf: Shelf, asked: Asked, parts: dict[str, str], /) -> Answer:
    """Return the entries of the paths that the body names, if there."""
    repository = shelf.find(asked, parts["id"])
    commit = commit_of(repository, parts["revision"])
    paths, expand = form(asked)
    known = entries(repository)
    last = commit if expand else None
    found = (entry(repository, each, last) for each in paths if each in known)
    return json_answer(list(found))


def form(asked: Asked, /) -> tuple[list[str], bool]:
    """Return the paths of a body, be it JSON or a form."""
    if asked.headers.get("content-type", "").startswith("application/json"):
        given = json.loads(asked.body)
        return given["paths"], bool(given.get("expand"))
    given = parse_qs(asked.body.decode())
    return given.get("paths", []), given.get("expand") == ["true"]


def entries(repository: Repository, /) -> list[str]:
    """Return all paths, those of folders too."""
    files = repository.files
    return sorted({*files, *(each for name in files for each in above(name))})


def above(path: str, /) -> Iterator[str]:
    """Yield the folders that a path lies in."""
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def entry(
    repository: Repository, path: str, last: str | None, /
) -> dict[str, Any]:
    """Return an entry, with its last commit if there is one to tell."""
    content = repository.contents.get(path)
    said = folder(path) if content is None else file(path, content)
    if last is None:
        return said
    date = repository.last_modified
    commit = {"id": last, "title": "Upload", "date": date}
    return said | {"lastCommit": commit, "securityFileStatus": SAFE}


def folder(path: str, /) -> dict[str, Any]:
    oid = git_name(path.encode())
    return {"type": "directory", "oid": oid, "size": 0, "path": path}


def file(path: str, content: Content, /) -> dict[str, Any]:
    said = {"type": "file", "size": content.size, "path": path}
    if not is_large(path, content):
        return said | {"oid": content.blob}
    lfs = {
        "oid": content.sha256,
        "size": content.size,
        "pointerSize": len(content.pointer),
    }
    return said | {"oid": git_name(content.pointer), "lfs": lfs}
