"""Faults that go away: a client may try again."""

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from email.utils import formatdate
from typing import Any

from tests.hub.content import Body, body_of
from tests.hub.kinds import Kind, always, has_body, is_json
from tests.hub.messages import Answer, Asked, refusal

PORTAL = b"<!doctype html><title>Wi-Fi</title><p>Please accept our terms.</p>"


def delivered(answer: Answer, /, **how: Any) -> Answer:
    return replace(answer, delivery=replace(answer.delivery, **how))


def cut(answer: Answer, _: Asked, sent: int | None, /) -> Answer:
    limit = half(answer.body) if sent is None else sent
    return delivered(answer, limit=limit)


def reset(answer: Answer, _: Asked, sent: int | None, /) -> Answer:
    limit = half(answer.body) if sent is None else sent
    return delivered(answer, limit=limit, reset=True)


def reset_before_headers(answer: Answer, _: Asked, __: Any, /) -> Answer:
    return delivered(answer, silent=True, reset=True)


def no_headers(answer: Answer, _: Asked, seconds: float, /) -> Answer:
    return delivered(answer, pause=seconds, silent=True)


def slow(answer: Answer, _: Asked, seconds: float, /) -> Answer:
    return delivered(answer, pause=seconds)


def slowloris(answer: Answer, _: Asked, seconds: float, /) -> Answer:
    return delivered(answer, pace=seconds)


def status(_: Answer, __: Asked, code: int, /) -> Answer:
    return refusal(code, "", "Something went wrong")


def too_many(_: Answer, __: Asked, variant: str, /) -> Answer:
    answer = refusal(429, "", "Too many requests")
    return answer.with_headers(**waits()[variant])


def waits() -> Mapping[str, dict[str, str]]:
    """Return the headers that say for how long, by the name of the way."""
    date = formatdate(math.ceil(time.time()) + 1, usegmt=True)
    return {
        "retry-after-seconds": {"Retry_After": "1"},
        "retry-after-date": {"Retry_After": date},
        "retry-after-negative": {"Retry_After": "-5"},
        "retry-after-garbage": {"Retry_After": "soon"},
        "retry-after-huge": {"Retry_After": "100000"},
        "ratelimit": {
            "RateLimit": '"resolvers";r=0;t=1',
            "RateLimit_Policy": '"fixed window";"resolvers";q=3000;w=300',
        },
        "none": {},
    }


def cut_json(answer: Answer, _: Asked, kept: int | None, /) -> Answer:
    """Return a part of the text, as a response of just that length."""
    text = b"".join(answer.body.chunks())
    end = len(text) // 2 if kept is None else kept
    return replace(answer, body=body_of(text[:end]))


def html(_: Answer, __: Asked, ___: Any, /) -> Answer:
    headers = (("Content-Type", "text/html; charset=utf-8"),)
    return Answer(200, body_of(PORTAL), headers)


def half(body: Body, /) -> int:
    return (body.size or 0) // 2


TRANSIENT = {
    "cut": Kind(cut, has_body),
    "reset": Kind(reset, has_body),
    "reset-before-headers": Kind(reset_before_headers, always),
    "drip": Kind(cut, has_body, value=1, sticky=True),
    "slow": Kind(slow, always, value=1.0),
    "status": Kind(status, always, value=503),
    "429": Kind(too_many, always, value="retry-after-seconds"),
    "cut-json": Kind(cut_json, is_json),
    "html": Kind(html, always),
    "no-headers": Kind(no_headers, always, value=60.0),
    "slowloris": Kind(slowloris, has_body, value=1.0),
}
