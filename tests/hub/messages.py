"""What is asked, what is answered, and what the log keeps of both."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.hub.content import EMPTY, Altered, Body, Content, body_of

JSON = "application/json; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came, to the server at `origin`."""

    method: str
    origin: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def raw_path(self) -> str:
        return urlsplit(self.target).path

    @property
    def path(self) -> str:
        return unquote(self.raw_path)

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.target).query, keep_blank_values=True)

    @property
    def url(self) -> str:
        return self.origin + self.target

    def first(self, name: str, default: str = "", /) -> str:
        """Return the first value of a parameter."""
        return self.query.get(name, [default])[0]

    def flag(self, name: str, /) -> bool:
        return self.first(name).lower() in {"true", "1"}

    def allow(self, names: Iterable[str], /) -> None:
        """Refuse parameters that are not known.

        To pass over a condition would be to find too much.
        """
        if unknown := self.query.keys() - set(names):
            message = f"Unknown parameters: {', '.join(sorted(unknown))}"
            raise Refused(refusal(400, "", message))


@dataclass(frozen=True, slots=True)
class Request:
    """One line of a log.

    Attributes
    ----------
    sent
        Bytes of the body that were handed to the socket. What the client
        took of an answer that it broke off is less by the two buffers.
    faults
        The kinds of the faults that changed the answer.
    """

    method: str
    path: str
    query: Mapping[str, list[str]]
    status: int
    headers: Mapping[str, str]
    sent: int
    url: str
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Delivery:
    """How an answer is put on the wire.

    Attributes
    ----------
    pause
        Seconds before the first byte.
    silent
        Nothing is sent at all.
    limit
        Bytes of the body after which the connection ends.
    reset
        It ends by RST, not by FIN.
    pace
        Seconds before each single byte of the body.
    """

    pause: float = 0.0
    silent: bool = False
    limit: int | None = None
    reset: bool = False
    pace: float = 0.0


@dataclass(frozen=True, slots=True)
class File:
    """What can be served in ranges."""

    content: Content | Altered
    etag: str
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back, but for the length of the body."""

    status: int
    body: Body = EMPTY
    headers: tuple[tuple[str, str], ...] = ()
    file: File | None = None
    delivery: Delivery = Delivery()

    def header(self, name: str, /) -> str:
        """Return the first value of a header, or ""."""
        found = (v for key, v in self.headers if key.lower() == name.lower())
        return next(found, "")

    def with_headers(self, **headers: str) -> "Answer":
        """Return the answer with headers in place of those of that name."""
        new = {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        gone = {name.lower() for name in new}
        kept = [each for each in self.headers if each[0].lower() not in gone]
        return replace(self, headers=(*kept, *new.items()))


class Refused(Exception):  # noqa: N818 - it is an answer
    """A request that is not answered as it was meant."""

    def __init__(self, answer: Answer, /) -> None:
        super().__init__(answer.status)
        self.answer = answer


def refusal(status: int, code: str, message: str, /) -> Answer:
    """Return an error as the hub words it."""
    headers = (
        ("Content-Type", JSON),
        *((("X-Error-Code", code),) if code else ()),
        ("X-Error-Message", message),
    )
    return Answer(status, json_body({"error": message}), headers)


def json_body(value: Any, /) -> Body:
    return body_of(json.dumps(value, separators=(",", ":")).encode())


def json_answer(value: Any, /, **headers: str) -> Answer:
    answer = Answer(200, json_body(value), (("Content-Type", JSON),))
    return answer.with_headers(**headers)
