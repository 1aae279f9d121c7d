"""One model: what it is, its names of revisions, whose the token is."""

from typing import Any

from tests.hub.fields import DETAILED, blob, describe
from tests.hub.listing import expanded
from tests.hub.messages import Answer, Asked, Refused, json_answer, refusal
from tests.hub.repository import Repository
from tests.hub.shelf import Shelf, at, commit_of


def info(shelf: Shelf, asked: Asked, parts: dict[str, str], /) -> Answer:
    """Return what the hub knows of a model at a revision."""
    asked.allow({"expand", "blobs"})
    repository = shelf.find(asked, parts["id"])
    repository = at(shelf, repository, parts["revision"])
    commit = commit_of(repository, parts["revision"])
    expand = asked.query.get("expand")
    said = describe(repository, expanded(expand) if expand else DETAILED)
    said |= {"sha": commit} if "sha" in said else {}
    said |= {"siblings": blobs(repository)} if asked.flag("blobs") else {}
    return json_answer(said)


def blobs(repository: Repository, /) -> list[dict[str, Any]]:
    return [blob(name, each) for name, each in repository.contents.items()]


def refs(shelf: Shelf, asked: Asked, parts: dict[str, str], /) -> Answer:
    """Return the names of the revisions."""
    asked.allow({"include_prs"})
    repository = shelf.find(asked, parts["id"])
    named = {"main": repository.sha} | dict(repository.refs)
    branches = [
        {
            "name": name,
            "ref": f"refs/heads/{name}",
            "targetCommit": commit or repository.sha,
        }
        for name, commit in named.items()
    ]
    empty: dict[str, list[str]] = {"tags": [], "converts": []}
    return json_answer({"branches": branches, "pullRequests": []} | empty)


def whoami(shelf: Shelf, asked: Asked, _: dict[str, str], /) -> Answer:
    if not shelf.knows(asked):
        raise Refused(refusal(401, "", "Invalid username or password."))
    role = {"displayName": "tests", "role": "read"}
    auth = {"type": "access_token", "accessToken": role}
    said = {"type": "user", "name": "tester", "orgs": [], "auth": auth}
    return json_answer(said)
