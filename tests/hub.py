"""A model hub on the loopback: what its own client needs of the protocol."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

__all__ = ["Hub", "Repository", "Request"]

CONDITIONS = {"filter", "limit", "cursor"}
RANGE = re.compile(r"bytes=(?=-?\d)(\d*)-(\d*)")


@dataclass(frozen=True, slots=True)
class Repository:
    """Files at their one commit, and the tags that queries find them by."""

    id: str
    files: Mapping[str, bytes]
    tags: tuple[str, ...] = ()

    @property
    def sha(self) -> str:
        """The commit: 40 hexadecimal digits that change with any file."""
        content = {name: digest(body) for name, body in self.files.items()}
        return digest(json.dumps([self.id, content]).encode())[:40]

    def has(self, revision: str, /) -> bool:
        return revision in {"main", self.sha}


@dataclass(frozen=True, slots=True)
class Request:
    """One line of a hub's log."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    status: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back, but for the length of the body."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class Hub(ThreadingHTTPServer):
    """Serves repositories while its context lasts, `page` a listing at most.

    `requests` is the log, in order of the answers.
    """

    # Closing waits for the threads, so that no socket outlives a test.
    daemon_threads = False

    def __init__(
        self, repositories: Iterable[Repository], /, *, page: int = 1000
    ) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories = {each.id: each for each in repositories}
        self.page = page
        self.requests: list[Request] = []
        self.thread = Thread(target=self.serve_forever, args=(0.01,))

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.thread.join()
        self.server_close()

    def answer(self, target: str, asked: str, /) -> Answer:
        """Return the answer to a request with that Range header, or ""."""
        url = urlsplit(target)
        if url.path == "/api/models":
            return self.models(parse_qs(url.query))
        for pattern, respond in ROUTES:
            if found := pattern.fullmatch(unquote(url.path)):
                parts = found.groupdict("main")
                repository = self.repositories.get(parts["id"])
                if repository and repository.has(parts["revision"]):
                    return respond(repository, parts.get("file", ""), asked)
        return Answer(404)

    def models(self, query: dict[str, list[str]], /) -> Answer:
        """Return a page of the models with all the tags, and the next one."""
        if query.keys() - CONDITIONS:
            # To pass over a condition would be to find too much.
            return Answer(400)
        found = [
            {"id": each.id, "tags": each.tags, "private": False}
            for each in self.repositories.values()
            if set(query.get("filter", ())) <= set(each.tags)
        ]
        start = int(query.get("cursor", ["0"])[0])
        stop = start + min(self.page, int(query.get("limit", [self.page])[0]))
        more = urlencode({**query, "cursor": stop}, doseq=True)
        link = f'<{self.endpoint}/api/models?{more}>; rel="next"'
        headers = {"Link": link} if stop < len(found) else {}
        return Answer(200, json.dumps(found[start:stop]).encode(), headers)


class Handler(BaseHTTPRequestHandler):
    """Answers one request a connection, as HTTP/1.0 does."""

    server: Hub
    timeout = 10

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        asked = self.headers.get("Range", "")
        answer = self.server.answer(self.path, asked)
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        self.server.requests.append(
            Request(self.command, unquote(url.path), query, answer.status)
        )
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(answer.body)

    def log_message(self, *_: Any, **__: Any) -> None:
        """Print nothing: the log is kept in `Hub.requests`."""


def digest(body: bytes, /) -> str:
    return hashlib.sha256(body).hexdigest()


def info(repository: Repository, *_: str) -> Answer:
    """Return the commit of a repository and the names of its files."""
    known = {
        "id": repository.id,
        "sha": repository.sha,
        "tags": repository.tags,
        "private": False,
        "gated": False,
        "siblings": [{"rfilename": name} for name in repository.files],
    }
    return Answer(200, json.dumps(known).encode())


def tree(repository: Repository, *_: str) -> Answer:
    """Return the names, sizes and digests of all files."""
    files = [
        {"type": "file", "path": name, "size": len(body), "oid": digest(body)}
        for name, body in repository.files.items()
    ]
    return Answer(200, json.dumps(files).encode())


def resolve(repository: Repository, name: str, asked: str, /) -> Answer:
    """Return a file, or the one range of its bytes that is asked for."""
    body = repository.files.get(name)
    if body is None:
        return Answer(404)
    headers = {"ETag": f'"{digest(body)}"', "X-Repo-Commit": repository.sha}
    limits = RANGE.fullmatch(asked)
    if limits is None:
        return Answer(200, body, headers)
    first, last = limits.groups()
    start = int(first) if first else max(len(body) - int(last), 0)
    stop = min(int(last) + 1, len(body)) if first and last else len(body)
    if start >= stop:
        return Answer(416, headers={"Content-Range": f"bytes */{len(body)}"})
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(body)}"
    return Answer(206, body[start:stop], headers)


ID = r"(?P<id>[^/]+/[^/]+)"
REVISION = r"(?P<revision>[^/]+)"
ROUTES = (
    (re.compile(rf"/api/models/{ID}(/revision/{REVISION})?"), info),
    (re.compile(rf"/api/models/{ID}/tree/{REVISION}"), tree),
    (re.compile(rf"/{ID}/resolve/{REVISION}/(?P<file>.+)"), resolve),
)
