"""The repositories of a hub, and who may read which."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal

from tests.hub.cdn import Cdn
from tests.hub.messages import Answer, Asked, Refused, refusal
from tests.hub.repository import Repository

BAD_TOKEN = refusal(401, "", "Invalid credentials in Authorization header")
DISABLED = refusal(403, "DisabledRepo", "Access to this resource is disabled.")


@dataclass
class Shelf:
    """What a hub knows; tests may change it while the hub answers.

    Attributes
    ----------
    history
        Every commit of what was written to, the newest last.
    verify_at
        The origin that is to confirm uploads, in place of the hub itself.
    """

    cdn: Cdn
    repositories: dict[str, Repository]
    page: int = 1000
    token: str | None = None
    grants: Collection[str] = field(default_factory=frozenset)
    lifetime: float = 3600.0
    kind: Literal["models", "datasets"] = "models"
    history: dict[str, list[Repository]] = field(default_factory=dict)
    verify_at: str | None = None

    def check_token(self, asked: Asked, /) -> None:
        """Refuse a token that is not the valid one, whatever is asked."""
        given = asked.headers.get("authorization")
        if given is not None and given != f"Bearer {self.token}":
            raise Refused(BAD_TOKEN)

    def knows(self, asked: Asked, /) -> bool:
        """Return whether the request came with the valid token."""
        return "authorization" in asked.headers

    def granted(self, repository: Repository, asked: Asked, /) -> bool:
        return self.knows(asked) and repository.id in self.grants

    def shows(self, repository: Repository, asked: Asked, /) -> bool:
        """Return whether a listing has the repository."""
        here = repository.moved_to is None
        return here and (
            not repository.private or self.granted(repository, asked)
        )

    def find(self, asked: Asked, id: str, /) -> Repository:  # noqa: A002
        """Return a repository whose description may be seen."""
        found = self.repositories.get(id)
        if found is not None and found.moved_to is not None:
            raise Refused(moved(asked, found.moved_to, id))
        if found is None or not self.shows(found, asked):
            status = 404 if self.knows(asked) else 401
            message = "Repository not found"
            raise Refused(refusal(status, "RepoNotFound", message))
        if found.disabled:
            raise Refused(DISABLED)
        return found

    def open(self, asked: Asked, id: str, /) -> Repository:  # noqa: A002
        """Return a repository whose files may be read."""
        found = self.find(asked, id)
        if found.gated and not self.granted(found, asked):
            status = 403 if self.knows(asked) else 401
            message = (
                f"Access to model {id} is restricted and you are not in the"
                f" authorized list. Visit {asked.origin}/{id} to ask for"
                " access."
            )
            raise Refused(refusal(status, "GatedRepo", message))
        return found


def at(shelf: Shelf, repository: Repository, revision: str, /) -> Repository:
    """Return a repository as it was at a commit, where that is kept."""
    past = shelf.history.get(repository.id, ())
    return next((each for each in past if each.sha == revision), repository)


def commit_of(repository: Repository, revision: str, /) -> str:
    """Return the commit of a revision, or refuse one that is not there."""
    commit = repository.commit(revision)
    if commit is None:
        message = f"Invalid rev id: {revision}"
        raise Refused(refusal(404, "RevisionNotFound", message))
    return commit


def moved(asked: Asked, new: str, old: str, /) -> Answer:
    """Return the way to the same thing under the id of today."""
    location = asked.target.replace(old, new, 1)
    return Answer(307, headers=(("Location", location),))
