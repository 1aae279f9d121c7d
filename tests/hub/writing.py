"""What a client writes: a repository, contents, and commits of both."""

import base64
import hashlib
import json
from dataclasses import replace
from typing import Any

from tests.hub.content import STORED
from tests.hub.messages import Answer, Asked, Refused, json_answer, refusal
from tests.hub.repository import Repository
from tests.hub.shelf import Shelf

NEW = {".gitattributes": b"*.h5 filter=lfs diff=lfs merge=lfs -text\n"}

Parts = dict[str, str]


def writable(shelf: Shelf, asked: Asked, id: str, /) -> None:  # noqa: A002
    """Refuse who may not write to a repository."""
    if not shelf.knows(asked):
        raise Refused(refusal(401, "", "Invalid username or password."))
    if not {id, id.partition("/")[0] + "/"} & set(shelf.grants):
        message = "You don't have the rights to write to this repository."
        raise Refused(refusal(403, "", message))


def create(shelf: Shelf, asked: Asked, _: Parts, /) -> Answer:
    said = json.loads(asked.body)
    assert said["type"] == "dataset"
    name = f"{said['organization']}/{said['name']}"
    writable(shelf, asked, name)
    where = {"url": f"{asked.origin}/datasets/{name}"}
    if name in shelf.repositories:
        error = "You already created this dataset repo"
        return replace(json_answer(where | {"error": error}), status=409)
    is_private = said.get("visibility") == "private" or said.get("private")
    put(shelf, Repository(name, NEW, private=bool(is_private)))
    shelf.grants = {*shelf.grants, name}
    return json_answer(where)


def yaml(_: Shelf, asked: Asked, __: Parts, /) -> Answer:
    """Accept the head of a card."""
    said = json.loads(asked.body)
    assert said["repoType"] == "dataset"
    assert said["content"].startswith("---\n")
    return json_answer({"errors": [], "warnings": []})


def preupload(shelf: Shelf, asked: Asked, parts: Parts, /) -> Answer:
    """Say of each file whether git or the store is to have it."""
    writable(shelf, asked, parts["id"])
    repository = shelf.find(asked, parts["id"])
    return json_answer({
        "files": [
            {
                "path": each["path"],
                "uploadMode": mode(each["path"]),
                "shouldIgnore": False,
                "oid": oid(repository, each["path"]),
            }
            for each in json.loads(asked.body)["files"]
        ]
    })  # fmt: skip


def mode(path: str, /) -> str:
    return "lfs" if path.endswith(STORED) else "regular"


def oid(repository: Repository, path: str, /) -> str | None:
    content = repository.contents.get(path)
    if content is None:
        return None
    return content.sha256 if path.endswith(STORED) else content.blob


def batch(shelf: Shelf, asked: Asked, parts: Parts, /) -> Answer:
    """Return where to put the contents that the store lacks."""
    writable(shelf, asked, parts["id"])
    found = [each(shelf, asked, parts, o) for o in objects(asked)]
    return json_answer({"transfer": "basic", "objects": found})


def objects(asked: Asked, /) -> list[dict[str, Any]]:
    said = json.loads(asked.body)
    assert said["operation"] == "upload"
    assert "basic" in said["transfers"]
    return list(said["objects"])


def each(
    shelf: Shelf, asked: Asked, parts: Parts, wanted: dict[str, Any], /
) -> dict[str, Any]:
    if wanted["oid"] in shelf.cdn.stored:
        return wanted
    link = shelf.cdn.sign_upload(wanted["oid"], shelf.lifetime)
    origin = shelf.verify_at or asked.origin
    verify = f"{origin}/datasets/{parts['id']}.git/info/lfs/verify"
    actions = {"upload": {"href": link}, "verify": {"href": verify}}
    return wanted | {"actions": actions}


def verify(shelf: Shelf, asked: Asked, parts: Parts, /) -> Answer:
    """Refuse a content that is not the one that was announced."""
    writable(shelf, asked, parts["id"])
    said = json.loads(asked.body)
    content = shelf.cdn.stored.get(said["oid"], b"")
    if hashlib.sha256(content).hexdigest() != said["oid"]:
        shelf.cdn.stored.pop(said["oid"], None)
        return refusal(400, "", "The content is another one")
    return json_answer({})


def commit(shelf: Shelf, asked: Asked, parts: Parts, /) -> Answer:
    """Make all changes of a request, or none."""
    writable(shelf, asked, parts["id"])
    repository = shelf.find(asked, parts["id"])
    header, *changes = map(json.loads, asked.body.splitlines())
    assert header["key"] == "header"
    assert header["value"]["summary"]
    files = dict(repository.files) | {
        change["value"]["path"]: content(shelf, change) for change in changes
    }
    new = Repository(repository.id, files, private=repository.private)
    put(shelf, new)
    return json_answer({
        "success": True,
        "commitOid": new.sha,
        "commitUrl": f"{asked.origin}/datasets/{new.id}/commit/{new.sha}",
        "hookOutput": "",
    })  # fmt: skip


def content(shelf: Shelf, change: dict[str, Any], /) -> bytes:
    said = change["value"]
    if change["key"] == "file":
        assert said["encoding"] == "base64"
        return base64.b64decode(said["content"])
    assert change["key"] == "lfsFile"
    stored = shelf.cdn.stored.get(said["oid"])
    if stored is None or len(stored) != said["size"]:
        raise Refused(refusal(400, "", "The content was not uploaded"))
    return stored


def put(shelf: Shelf, repository: Repository, /) -> None:
    """Let a repository be, its past with it."""
    shelf.repositories[repository.id] = repository
    shelf.history.setdefault(repository.id, []).append(repository)
