"""What a kind of fault is, and which answers it can be shown on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.hub.messages import Answer, Asked

Change = Callable[[Answer, Asked, Any], Answer]
Fits = Callable[[Answer, Asked], bool]


@dataclass(frozen=True, slots=True)
class Kind:
    """One row of the table of faults.

    Attributes
    ----------
    change
        From the true answer, the request and the fault's value to what is
        sent.
    fits
        Whether the fault would show on that answer.
    value
        What a fault without a value means.
    sticky
        It lasts once it has begun.
    """

    change: Change
    fits: Fits
    value: Any = None
    sticky: bool = False


def always(_answer: Answer, _asked: Asked, /) -> bool:
    return True


def has_body(answer: Answer, asked: Asked, /) -> bool:
    fine = answer.status in {200, 206}
    return fine and asked.method != "HEAD" and answer.body.size != 0


def is_json(answer: Answer, asked: Asked, /) -> bool:
    json = answer.header("Content-Type").startswith("application/json")
    return json and has_body(answer, asked)


def is_page(answer: Answer, asked: Asked, /) -> bool:
    pages = asked.raw_path == "/api/models" or "/tree/" in asked.raw_path
    return pages and is_json(answer, asked)


def is_range(answer: Answer, asked: Asked, /) -> bool:
    return answer.status == 206 and has_body(answer, asked)


def has_etag(answer: Answer, _asked: Asked, /) -> bool:
    return answer.header("ETag") != ""


def has_commit(answer: Answer, _asked: Asked, /) -> bool:
    return answer.header("X-Repo-Commit") != ""
