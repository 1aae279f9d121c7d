"""A model hub: its routes, its log and its faults."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Self
from urllib.parse import unquote

from tests.hub.cdn import Cdn
from tests.hub.details import info, refs, whoami
from tests.hub.faults import Fault, Faults
from tests.hub.listing import models
from tests.hub.loopback import Loopback
from tests.hub.messages import Answer, Asked, Refused, Request, refusal
from tests.hub.repository import Repository
from tests.hub.resolve import cached, resolve
from tests.hub.shelf import Shelf
from tests.hub.tree import paths_info, tree
from tests.hub.writing import batch, commit, create, preupload, verify, yaml

Respond = Callable[[Shelf, Asked, dict[str, str]], Answer]

ID = r"(?P<id>[^/]+(?:/[^/]+)?)"
REVISION = r"(?P<revision>[^/]+)"
FILE = r"(?P<file>.+)"
ROUTES: tuple[tuple[str, str, Respond], ...] = (
    ("GET", "/api/models", lambda shelf, asked, _: models(shelf, asked)),
    ("GET", "/api/whoami-v2", whoami),
    ("GET", f"/api/models/{ID}/refs", refs),
    ("GET", f"/api/models/{ID}/tree/{REVISION}(?:/{FILE})?", tree),
    ("POST", f"/api/models/{ID}/paths-info/{REVISION}", paths_info),
    ("GET", f"/api/resolve-cache/models/{ID}/{REVISION}/{FILE}", cached),
    ("GET", f"/api/models/{ID}(?:/revision/{REVISION})?", info),
    ("GET", f"/{ID}/resolve/{REVISION}/{FILE}", resolve),
)
DATASET = r"/datasets/(?P<id>[^/]+/[^/]+?)"
WRITTEN: tuple[tuple[str, str, Respond], ...] = (
    ("POST", "/api/repos/create", create),
    ("POST", "/api/validate-yaml", yaml),
    ("GET", f"/api{DATASET}(?:/revision/{REVISION})?", info),
    ("POST", f"/api{DATASET}/preupload/{REVISION}", preupload),
    ("POST", f"/api{DATASET}/commit/{REVISION}", commit),
    ("POST", rf"{DATASET}\.git/info/lfs/objects/batch", batch),
    ("POST", rf"{DATASET}\.git/info/lfs/verify", verify),
    ("GET", f"/api/resolve-cache{DATASET}/{REVISION}/{FILE}", cached),
    ("GET", f"{DATASET}/resolve/{REVISION}/{FILE}", resolve),
)
"""Of dataset repositories, which clients may make and write to."""

# As on the real hub they come with every answer, not only with a 429.
QUOTA = (
    ("RateLimit", '"api";r=499;t=300'),
    ("RateLimit-Policy", '"fixed window";"api";q=500;w=300'),
)


class Hub(Loopback):
    """Serves repositories while its context lasts, `page` a listing at most.

    Attributes
    ----------
    requests, cdn.requests
        The logs of the two origins; `traffic` has both, in order.
    faults
        What goes wrong at either of them.
    shelf, datasets
        The repositories and the rights, which may change as it runs; those
        of models, and of datasets, whose `grants` name repositories, or as
        ``org/`` all of an organisation, that the token may write to too.
    """

    def __init__(
        self,
        repositories: Iterable[Repository],
        /,
        *,
        page: int = 1000,
        token: str | None = None,
        grants: Collection[str] = (),
        lifetime: float = 3600.0,
    ) -> None:
        faults = Faults()
        self.traffic: list[Request] = []
        super().__init__("hub", faults)
        self.cdn = Cdn(faults, self.traffic)
        known = {each.id: each for each in repositories}
        self.shelf = Shelf(self.cdn, known, page, token, grants, lifetime)
        self.datasets = Shelf(
            self.cdn, {}, page, token, grants, lifetime, "datasets"
        )

    @property
    def repositories(self) -> dict[str, Repository]:
        return self.shelf.repositories

    @property
    def bytes_sent(self) -> int:
        """The bytes of all bodies, those of the CDN too."""
        return sum(each.sent for each in self.traffic)

    def __enter__(self) -> Self:
        self.cdn.__enter__()
        return super().__enter__()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            super().__exit__(kind)
        finally:
            self.cdn.__exit__(kind)

    def record(self, request: Request, /) -> None:
        super().record(request)
        self.traffic.append(request)

    @contextmanager
    def watched(self) -> Iterator[list[Request]]:
        """Give a list that has the block's requests once the block ends."""
        self.settle()
        start = len(self.traffic)
        seen: list[Request] = []
        try:
            yield seen
        finally:
            self.settle()
            seen += self.traffic[start:]

    @contextmanager
    def fault(self, *faults: Fault) -> Iterator[None]:
        """Have faults in a block."""
        self.faults.append(*faults)
        try:
            yield
        finally:
            for each in faults:
                self.faults.remove(each)

    def settle(self, seconds: float = 2.0, /) -> None:
        super().settle(seconds)
        self.cdn.settle(seconds)

    def answer(self, asked: Asked, /) -> Answer:
        """Return the true answer to a request."""
        try:
            self.shelf.check_token(asked)
            answer = self.route(asked)
        except Refused as refused:
            answer = refused.answer
        return answer.with_headers(**dict(QUOTA))

    def route(self, asked: Asked, /) -> Answer:
        method = "GET" if asked.method == "HEAD" else asked.method
        routes = [(self.datasets, *each) for each in WRITTEN]
        routes += [(self.shelf, *each) for each in ROUTES]
        for shelf, verb, pattern, respond in routes:
            found = re.fullmatch(pattern, asked.raw_path)
            if verb == method and found:
                raw = {"revision": "main", "file": ""} | {
                    name: value
                    for name, value in found.groupdict().items()
                    if value is not None
                }
                parts = {name: unquote(each) for name, each in raw.items()}
                return respond(shelf, asked, parts)
        return refusal(404, "", "Sorry, we can't find the page")
