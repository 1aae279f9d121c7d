"""A client that hides nothing of what a server sends."""

import http.client
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit


@dataclass(frozen=True, slots=True)
class Got:
    """An answer as far as it came, and what ended it before its time."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes = b""
    error: str = ""

    def __getitem__(self, name: str) -> str:
        return self.headers[name]


def get(
    url: str,
    headers: Mapping[str, str] | None = None,
    /,
    *,
    method: str = "GET",
    seconds: float = 5.0,
) -> Got:
    """Return the answer to one request on a connection of its own."""
    parts = urlsplit(url)
    place = parts.netloc
    line = http.client.HTTPConnection(place, timeout=seconds)
    try:
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        line.request(method, target, headers=dict(headers or {}))
        with line.getresponse() as answer:
            return read(answer)
    except (OSError, http.client.HTTPException) as error:
        none = http.client.HTTPMessage()
        return Got(0, none, error=type(error).__name__)
    finally:
        line.close()


def read(answer: http.client.HTTPResponse, /) -> Got:
    """Return what came of the body, byte by byte so that none is lost."""
    body, error = bytearray(), ""
    try:
        while piece := answer.read1(65536):
            body += piece
        if answer.length:
            error = "IncompleteRead"
    except (OSError, http.client.HTTPException) as failure:
        error = type(failure).__name__
    return Got(answer.status, answer.headers, bytes(body), error)


def follow(url: str, headers: Mapping[str, str] | None = None, /) -> Got:
    """Return what is found at the end of at most five redirects."""
    got = get(url, headers)
    for _ in range(5):
        if got.status not in {302, 307}:
            break
        url = urljoin(url, got["Location"])
        got = get(url, headers)
    return got
