"""What is named on a hub: a repository, a revision of it, a file in it."""

import re
from dataclasses import dataclass

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import (  # type: ignore[attr-defined]
    validate_repo_id,
)

__all__ = [
    "SPECIAL",
    "Reference",
    "is_commit",
    "is_inside",
    "is_repository",
    "pinned",
    "pinned_path",
]

SPECIAL = r"refs/(?:convert/[A-Za-z0-9_.-]+|pr/[0-9]+)"
"""The Hub's own branches: their slashes stay as they are in every form."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
_PINNED = re.compile(r"hf://([^@]+)@([0-9a-f]{40})/(.+)", re.DOTALL)
_NOT_IN_PATH = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Reference:
    """A model repository of a hub, or a folder or file in it.

    Attributes
    ----------
    repo
        ``org/name``, or the bare name of an old model such as ``gpt2``.
    revision
        A branch, a tag or a commit; None is the default branch.
    path
        Of a folder or file in the repository, "" for all of it.
    """

    repo: str
    revision: str | None = None
    path: str = ""

    @property
    def text(self) -> str:
        """Return ``hf://org/name@revision/path``, which is read as this."""
        revision = self.revision
        if self.path and "/" not in self.repo:
            # hf://gpt2/folder would be the repository gpt2/folder.
            revision = revision or "main"
        at = "" if revision is None else f"@{_quoted(revision)}"
        return f"hf://{self.repo}{at}" + (f"/{self.path}" if self.path else "")


def pinned_path(repo: str, commit: str, path: str, /) -> str:
    """Return ``hf://repo@commit/path``, the name of one file for ever.

    What follows the commit is the path as it is, whatever it holds.

    Raises
    ------
    ValueError
        Where the repository is misnamed, `commit` is not 40 hexadecimal
        digits, or the path does not stay within the repository.
    """
    if not (is_repository(repo) and is_commit(commit) and is_inside(path)):
        raise ValueError(f"not a file at a commit: {repo}@{commit}/{path}")
    return Reference(repo, commit, path).text


def pinned(text: str, /) -> Reference | None:
    """Return the file that a `pinned_path` names, None for other texts."""
    match = _PINNED.fullmatch(text)
    if match is None:
        return None
    found = Reference(*match.groups())
    sound = is_repository(found.repo) and is_inside(found.path)
    return found if sound else None


def is_repository(name: str, /) -> bool:
    """Return whether a repository may be named so; it is no path either."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return name.isascii()


def is_commit(text: str, /) -> bool:
    """Return whether a text is a commit in full: 40 hexadecimal digits."""
    return _COMMIT.fullmatch(text) is not None


def is_inside(path: str, /) -> bool:
    """Return whether a relative path stays within the folder it is from."""
    return not (
        _NOT_IN_PATH.search(path) or {"", ".", ".."} & set(path.split("/"))
    )


def _quoted(revision: str) -> str:
    if re.fullmatch(SPECIAL, revision):
        return revision
    return revision.replace("%", "%25").replace("/", "%2F")
