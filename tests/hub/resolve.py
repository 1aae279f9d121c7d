"""The way from the name of a file to its bytes."""

from urllib.parse import quote, urlencode

from tests.hub.content import Content, git_name, is_large
from tests.hub.messages import Answer, Asked, File, Refused, refusal
from tests.hub.ranges import serve
from tests.hub.repository import Repository
from tests.hub.shelf import Shelf, at, commit_of

TEXT = (".json", ".md", ".txt", ".py", ".yaml", ".jinja")


def resolve(shelf: Shelf, asked: Asked, parts: dict[str, str], /) -> Answer:
    """Return where the file lies: at the CDN if it is large, or here."""
    repository, commit, content = find(shelf, asked, parts)
    name = parts["file"]
    common = (("X-Repo-Commit", commit), ("Accept-Ranges", "bytes"))
    if is_large(name, content):
        sign = shelf.cdn.sign
        link = sign(repository.id, name, content, shelf.lifetime)
        large = (
            ("Location", link),
            ("ETag", f'"{git_name(content.pointer)}"'),
            ("X-Linked-Size", str(content.size)),
            ("X-Linked-Etag", f'"{content.sha256}"'),
        )
        return Answer(302, headers=(*common, *large))
    etag = f'"{content.blob}"'
    of = f"{shelf.kind}/{repository.id}"
    path = quote(f"/api/resolve-cache/{of}/{commit}/{name}")
    query = urlencode({asked.path: "", "etag": etag})
    headers = (*common, ("Location", f"{path}?{query}"), ("ETag", etag))
    return Answer(307, headers=headers)


def cached(shelf: Shelf, asked: Asked, parts: dict[str, str], /) -> Answer:
    """Return a small file, or a range of it."""
    _, commit, content = find(shelf, asked, parts)
    text = parts["file"].endswith(TEXT)
    kind = "text/plain; charset=utf-8" if text else "application/octet-stream"
    headers = (("X-Repo-Commit", commit), ("Content-Type", kind))
    return serve(File(content, f'"{content.blob}"', headers), asked)


def find(
    shelf: Shelf, asked: Asked, parts: dict[str, str], /
) -> tuple[Repository, str, Content]:
    """Return repository, commit and content, or refuse what is not there."""
    repository = shelf.open(asked, parts["id"])
    repository = at(shelf, repository, parts["revision"])
    commit = commit_of(repository, parts["revision"])
    content = repository.contents.get(parts["file"])
    if content is None:
        raise Refused(refusal(404, "EntryNotFound", "Entry not found"))
    return repository, commit, content
